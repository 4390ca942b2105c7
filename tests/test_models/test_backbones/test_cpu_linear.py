"""Linear layers by oneDNN against the formula, and models with them against the same without."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.wrappers import Linear as MMCVLinear
from mmengine.structures import BaseDataElement
from torch import nn

from simmim_mm.models.backbones import cpu_linear
from simmim_mm.models.backbones.cpu_linear import CPULinear, FastLinear, FastPatchConv, swap_linears
from simmim_mm.registry import MODELS

pytestmark = pytest.mark.skipif(cpu_linear._one_dnn() is None, reason='PyTorch without oneDNN')
SWIN = dict(
    type='MaskedImageModel',
    data_preprocessor=dict(type='MIMDataPreprocessor', mean=[0.0] * 3, std=[1.0] * 3),
    backbone=dict(
        type='MaskedSwin', arch=dict(embed_dims=24, depths=[2, 2], num_heads=[2, 4]),
        img_size=32, window_size=4, out_indices=(1,),
    ),
    neck=dict(type='PixelShuffleDecoder'),
    head=dict(type='PixelHead', loss=dict(type='MaskedPixelLoss', criterion='l1')),
)  # fmt: skip
MAE = dict(
    SWIN,
    backbone=dict(
        type='MaskedViT', mask_mode='gather', img_size=32, patch_size=8,
        arch=dict(embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=48),
    ),
    neck=dict(type='TransformerDecoder', decoder_embed_dim=24, decoder_depth=1,
              decoder_num_heads=2),
)  # fmt: skip


@pytest.fixture
def gains(monkeypatch):
    """The processor gains, whatever it is."""
    monkeypatch.setattr(cpu_linear, 'cpu_is_amd_avx512', lambda: True)


@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize(('rows', 'wide'), [((40,), 24), ((5, 8), 12), ((1, 1), 36)])
def test_output_and_gradients_are_those_of_the_formula(gains, rows, wide, bias):
    x, grad = torch.randn(*rows, 18), torch.randn(*rows, wide)
    weight, b = torch.randn(wide, 18), torch.randn(wide) if bias else None
    given = [t.requires_grad_() for t in (x, weight, b) if t is not None]
    out = cpu_linear.linear(x, weight, b)
    assert 'CPULinear' in str(out.grad_fn.next_functions)
    found = torch.autograd.grad(out, given, grad)

    exact = [t.detach().double().reshape(-1, t.shape[-1]) for t in (x, weight, grad)]
    x, weight, grad = exact
    expected = x @ weight.T + (0 if b is None else b.detach().double())
    torch.testing.assert_close(out.double().view_as(expected), expected, rtol=1e-5, atol=1e-5)
    gradients = [grad @ weight, grad.T @ x, grad.sum(0)][: len(given)]
    for got, want in zip(found, gradients):
        torch.testing.assert_close(got.double().view_as(want), want, rtol=1e-5, atol=1e-5)


def test_mixed_precision_takes_and_gives_bfloat16(gains):
    x, weight, b = torch.randn(32, 20), torch.randn(12, 20), torch.randn(12)
    for t in (x, weight, b):
        t.requires_grad_()
    with torch.autocast('cpu', torch.bfloat16):
        out, plain = cpu_linear.linear(x, weight, b), F.linear(x, weight, b)
    assert out.dtype == plain.dtype == torch.bfloat16
    torch.testing.assert_close(out, plain, rtol=2**-7, atol=2**-5)  # one rounding less
    grad = torch.randn_like(out)
    for got, want in zip(*(torch.autograd.grad(o, (x, weight, b), grad) for o in (out, plain))):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, want, rtol=2**-7, atol=2**-4)


@pytest.mark.parametrize('config', [SWIN, MAE], ids=['SimMIM', 'MAE'])
def test_a_model_gives_the_loss_and_gradients_of_plain_layers(monkeypatch, config):
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(config))
    model.init_weights()
    assert any(isinstance(m, FastLinear) for m in model.backbone.modules())
    assert isinstance(model.backbone.patch_embed.projection, FastPatchConv)
    assert not any(type(m) in (nn.Linear, MMCVLinear) for m in model.modules())
    images = torch.randn(3, 3, 32, 32)
    mask = (torch.arange(16) % 2).bool().view(4, 4)
    results, calls = [], []
    apply = CPULinear.apply
    monkeypatch.setattr(CPULinear, 'apply', lambda *a: calls.append(a) or apply(*a))
    for fast in (True, False):
        monkeypatch.setattr(cpu_linear, 'cpu_is_amd_avx512', lambda fast=fast: fast)
        model.zero_grad()
        loss = model.loss(images, [BaseDataElement(mask=mask)] * 3)['loss']
        loss.backward()
        results.append((loss.item(), {n: p.grad for n, p in model.named_parameters()}, len(calls)))
    (fast, fast_grads, count), (plain, plain_grads, after) = results
    assert count == after > 0  # the second pass had none
    assert abs(fast / plain - 1) < 1e-5
    for name, want in plain_grads.items():
        if want is not None:
            assert (fast_grads[name] - want).norm() <= 1e-3 * want.norm() + 1e-9, name


@pytest.mark.parametrize('size', [(12, 8), (14, 11)])
def test_patches_give_the_convolution(gains, size):
    plain = nn.Conv2d(3, 10, (4, 2), (4, 2))
    fast = FastPatchConv(plain)
    images = torch.randn(2, 3, *size, requires_grad=True)
    given = (images, plain.weight, plain.bias)
    out, expected = fast(images), plain(images)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
    grad = torch.randn_like(expected)
    for got, want in zip(*(torch.autograd.grad(o, given, grad) for o in (out, expected))):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    'options', [dict(padding=1), dict(groups=3), dict(dilation=2), dict(stride=3)], ids=str
)
def test_other_convolutions_are_not_of_patches(options):
    assert not FastPatchConv.suits(nn.Conv2d(3, 6, 4, **dict(dict(stride=4), **options)))


def test_swapping_keeps_weights_keys_and_subclasses():
    class Own(nn.Linear):
        pass

    model = nn.Sequential(nn.Linear(3, 4), nn.Sequential(MMCVLinear(4, 5, bias=False)), Own(5, 2))
    state = dict(model.named_parameters())
    swap_linears(model)
    swapped = dict(model.named_parameters())
    assert swapped.keys() == state.keys() and all(swapped[k] is state[k] for k in state)
    assert [type(m) for m in (model[0], model[1][0], model[2])] == [FastLinear, FastLinear, Own]


def test_what_gains_nothing_is_left_to_pytorch(gains, monkeypatch):
    weight = torch.randn(4, 8)
    refused = [torch.randn(3, 8, dtype=torch.float64), torch.randn(0, 8)]
    refused.append(torch.randn(3, 8, dtype=torch.bfloat16))
    assert not any(cpu_linear._gains(x) for x in refused)
    assert cpu_linear._gains(torch.randn(3, 8))
    for dtype in (torch.float16, torch.bfloat16):
        with torch.autocast('cpu', dtype):
            assert not cpu_linear._gains(torch.randn(3, 8))
    traced = torch.jit.trace(lambda x: cpu_linear.linear(x, weight), torch.randn(3, 8))
    assert 'aten::linear' in str(traced.graph)
