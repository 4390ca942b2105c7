"""Forward and loss, compiled, are the plain ones: same loss, same gradients, same drop path."""

import copy

import pytest
import torch
from mmengine.structures import BaseDataElement

from simmim_mm.registry import MODELS

# The compiler hides it, unless warnings are errors: it comes up where a graph breaks.
pytestmark = pytest.mark.filterwarnings('ignore:The .grad attribute of a Tensor:UserWarning')

SWIN = dict(embed_dims=8, depths=[2, 1], num_heads=[1, 2])
VIT = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
CONV_VIT = dict(embed_dims=(8, 16, 24), depths=(1, 1, 2), num_heads=2)
MAE = dict(
    type='TransformerDecoder', decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=2
)  # fmt: skip
LINEAR = dict(type='PixelShuffleDecoder')
METHODS = dict(
    swin=(dict(type='MaskedSwin', arch=SWIN, window_size=4, out_indices=(1,)), LINEAR),
    swin_v2=(
        dict(
            type='MaskedSwinV2',
            arch=dict(SWIN, extra_norm_every_n_blocks=0),
            window_size=4,
            out_indices=(1,),
        ),
        LINEAR,
    ),
    vit=(dict(type='MaskedViT', arch=VIT, patch_size=8), LINEAR),
    small=(dict(type='MaskedViT', arch=dict(VIT, num_layers=1), patch_size=8), LINEAR),
    mae=(dict(type='MaskedViT', arch=VIT, patch_size=8, mask_mode='gather'), MAE),
    conv_mae=(dict(type='MaskedConvViT', arch=CONV_VIT), MAE),
)


def build(name: str, compile) -> torch.nn.Module:
    backbone, neck = METHODS[name]
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='simmim_mm.MaskedImageModel',
            backbone=dict(backbone, img_size=64, drop_path_rate=0.3),
            neck=dict(neck),
            head=dict(type='PixelHead'),
            data_preprocessor=dict(type='MIMDataPreprocessor', mean=[0.0] * 3, std=[1.0] * 3),
            compile=compile,
        )
    )
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model.train()


def batch(model, seed: int) -> tuple[torch.Tensor, list]:
    generator = torch.Generator().manual_seed(seed)
    h, w = model.backbone.token_grid(64, 64)
    ranks = torch.rand(4, h * w, generator=generator).argsort(1)
    samples = [BaseDataElement(metainfo=dict(mask=m)) for m in (ranks < h * w // 2).view(-1, h, w)]
    return torch.randn(4, 3, 64, 64, generator=generator), samples


def step(model, seed: int) -> tuple[torch.Tensor, dict]:
    model.zero_grad()
    torch.manual_seed(seed)  # of drop path
    loss = model.loss(*batch(model, seed))['loss']
    loss.backward()
    grads = {k: p.grad.clone() for k, p in model.named_parameters() if p.grad is not None}
    return loss.detach(), grads


def assert_same(model, other) -> None:
    for seed in range(2):
        (a, grads_a), (b, grads_b) = step(model, seed), step(other, seed)
        torch.testing.assert_close(b, a, rtol=1e-5, atol=0)
        assert grads_a.keys() == grads_b.keys()
        for name, grad in grads_a.items():
            assert (grads_b[name] - grad).norm() <= 1e-3 * grad.norm() + 1e-7, name


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.parametrize('name', ['swin', 'swin_v2', 'vit', 'mae', 'conv_mae'])
def test_the_traced_losses_and_gradients_are_the_plain_ones(name):
    """Methods with mask tokens as one graph; where visible tokens are gathered there are breaks."""
    whole = name not in ('mae', 'conv_mae')
    traced = build(name, dict(backend='aot_eager_decomp_partition', fullgraph=whole))
    assert_same(build(name, False), traced)


@pytest.mark.slow  # the C++ compiler
def test_the_compiled_losses_and_gradients_are_the_plain_ones():
    compiled = build('small', dict(options=dict(fallback_random=True)))  # the same random numbers
    assert_same(build('small', False), compiled)


def test_a_copy_is_compiled_for_itself_and_validation_is_plain():
    model = build('small', dict(backend='aot_eager'))
    step(model, 0)
    other = copy.deepcopy(model)  # as for an average of the weights
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(0.5)
    plain = build('small', False)
    plain.load_state_dict(other.state_dict())
    assert_same(plain, other)
    assert model.state_dict().keys() == plain.state_dict().keys()


def test_off_by_default(monkeypatch):
    monkeypatch.setattr(torch, 'compile', None)
    step(build('small', False), 0)
