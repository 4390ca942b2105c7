"""Attention in bfloat16 by the formula, against float64 and against PyTorch's kernel."""

import pytest
import torch
import torch.nn.functional as F

from simmim_mm.models.backbones import cpu_attention
from simmim_mm.models.backbones.cpu_attention import MAX_TOKENS, attention
from simmim_mm.registry import MODELS


@pytest.fixture(autouse=True)
def bfloat16_instructions(monkeypatch):
    """The processor has them, whatever it is."""
    monkeypatch.setattr(cpu_attention, 'cpu_has_bfloat16', lambda: True)


def packed(*shape: int, dtype=torch.bfloat16) -> torch.Tensor:
    """``(B, N, 3, heads, d)``, as a linear layer gives them."""
    batch, tokens, heads, width = shape
    return torch.randn(batch, tokens, 3, heads, width).to(dtype).requires_grad_()


def run(qkv: torch.Tensor, fn=attention, **kwargs) -> tuple[torch.Tensor, torch.Tensor]:
    """The output, and the gradient of the three for a fixed one of the output."""
    out = fn(*qkv.permute(2, 0, 3, 1, 4), **kwargs)
    grad = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view(out.shape)
    return out, torch.autograd.grad(out, qkv, grad)[0]


@pytest.mark.parametrize('shape', [(3, 17, 2, 32), (2, 65, 3, 12), (1, 1, 1, 4)])
def test_within_a_rounding_of_the_kernel(shape):
    torch.manual_seed(0)
    qkv = packed(*shape)
    exact = run(qkv.detach().double().requires_grad_(), F.scaled_dot_product_attention)
    kernel = run(qkv, F.scaled_dot_product_attention)
    found = run(qkv)
    assert 'Bmm' in str(found[0].grad_fn.next_functions)  # not the kernel's own node
    for ours, theirs, truth in zip(found, kernel, exact):
        assert ours.dtype == torch.bfloat16 and ours.shape == theirs.shape
        error, allowed = ((x.double() - truth).norm() / truth.norm() for x in (ours, theirs))
        assert error <= 2 * allowed + 1e-9  # logits are rounded once more


def test_autocast_does_not_take_the_softmax_to_float32():
    qkv = packed(2, 17, 2, 8)
    plain = run(qkv)
    with torch.autocast('cpu', torch.bfloat16):
        for got, expected in zip(run(qkv), plain):
            assert got.dtype == torch.bfloat16
            torch.testing.assert_close(got, expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ('qkv', 'kwargs'),
    [
        (packed(2, 5, 2, 8, dtype=torch.float32), {}),
        (packed(1, MAX_TOKENS + 1, 1, 4), {}),
        (packed(2, 5, 2, 8), dict(attn_mask=torch.rand(5, 5) < 0.9)),
    ],
    ids=['float32', 'many tokens', 'a mask'],
)  # fmt: skip
def test_the_kernel_where_it_is_the_better_one(qkv, kwargs):
    expected = run(qkv, F.scaled_dot_product_attention, **kwargs)
    for got, want in zip(run(qkv, **kwargs), expected):
        torch.testing.assert_close(got, want, rtol=0, atol=0)


def test_the_kernel_without_gradients_and_without_instructions(monkeypatch):
    q, k, _ = packed(2, 5, 2, 8).permute(2, 0, 3, 1, 4)
    with torch.no_grad():
        assert not cpu_attention._gains(q, k)
    assert not cpu_attention._gains(q.detach(), k)
    assert cpu_attention._gains(q, k)
    monkeypatch.setattr(cpu_attention, 'cpu_has_bfloat16', lambda: False)
    assert not cpu_attention._gains(q, k)


ARCH = dict(embed_dims=24, num_layers=1, num_heads=2, feedforward_channels=24)


@pytest.mark.parametrize(
    'cfg',
    [
        dict(type='MaskedViT', arch=ARCH, img_size=16, patch_size=4),
        dict(
            type='WindowedViT', arch=ARCH, img_size=16, patch_size=4, window_size=2,
            global_blocks=[],
        ),
        dict(
            type='MaskedConvViT', img_size=32,
            arch=dict(embed_dims=[8, 16, 24], depths=[1, 1, 1], mlp_ratios=[1, 1, 1], num_heads=2),
        ),
    ],
    ids=lambda cfg: cfg['type'],
)  # fmt: skip
def test_backbones_use_it_in_mixed_precision(cfg, monkeypatch):
    """And their gradients are those of PyTorch's kernel but for rounding."""
    torch.manual_seed(0)
    backbone = MODELS.build(cfg)
    backbone.init_weights()
    images = torch.randn(2, 3, cfg['img_size'], cfg['img_size'])
    weight = next(p for n, p in backbone.named_parameters() if n.endswith('qkv.weight'))

    def gradient():
        with torch.autocast('cpu', torch.bfloat16):
            features = backbone(images)[-1].float()
        return torch.autograd.grad((features * features.detach().roll(1)).sum(), weight)[0]

    calls = []
    gains = cpu_attention._gains
    monkeypatch.setattr(cpu_attention, '_gains', lambda *x: calls.append(gains(*x)) or calls[-1])
    ours = gradient()
    assert calls and all(calls)
    monkeypatch.setattr(cpu_attention, '_gains', lambda *x: False)
    theirs = gradient()
    assert (ours - theirs).norm() < 0.05 * theirs.norm()
    assert not torch.equal(ours, theirs)
