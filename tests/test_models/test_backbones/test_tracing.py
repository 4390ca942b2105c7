"""Export, trace and compile give what the model gives, and leave it as it was."""

import io
import warnings

import pytest
import torch
from masked_backbone_suite import scramble
from torch.testing import assert_close

from simmim_mm.models.backbones import (
    MaskedBEiT,
    MaskedConvNeXt,
    MaskedConvViT,
    MaskedResNet,
    MaskedSwin,
    MaskedSwinV2,
    MaskedViT,
    WindowedViT,
    build_masked_backbone,
)

SWIN = dict(embed_dims=12, depths=[2, 2], num_heads=[1, 2])
SWIN_V2 = dict(SWIN, extra_norm_every_n_blocks=0)
VIT = dict(embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=48)
CONV_VIT = dict(embed_dims=(8, 16, 24), depths=(1, 1, 2), num_heads=2)
CONVNEXT = dict(depths=[1, 1, 1, 1], channels=[8, 16, 24, 32])
POOLFORMER = dict(
    layers=[1] * 4, embed_dims=[8, 16, 24, 32], mlp_ratios=[2] * 4, layer_scale_init_value=1e-5
)
BACKBONES = dict(
    swin=lambda: MaskedSwin(SWIN, 64, window_size=4, out_indices=(0, 1)),
    padded_swin=lambda: MaskedSwin(SWIN, 64, window_size=7, pad_small_map=True, out_indices=(1,)),
    swin_v2=lambda: MaskedSwinV2(SWIN_V2, 64, window_size=4, out_indices=(1,)),
    vit=lambda: MaskedViT(VIT, 64, drop_path_rate=0.1),
    mae=lambda: MaskedViT(VIT, 64, mask_mode='gather'),
    windowed_vit=lambda: WindowedViT(VIT, 64, window_size=3, global_blocks=(1,)),
    beit=lambda: MaskedBEiT(VIT, 64, drop_path_rate=0.1),
    conv_vit=lambda: MaskedConvViT(CONV_VIT, 64, out_indices=(0, 1, 2)),
    convnext=lambda: MaskedConvNeXt(CONVNEXT),
    resnet=lambda: MaskedResNet(18, base_channels=8, stem_channels=8),
    poolformer=lambda: build_masked_backbone(dict(type='PoolFormer', arch=POOLFORMER)),
)


def images(batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def exported(model, x):
    batch = torch.export.Dim('batch', min=2, max=64)
    return torch.export.export(model, (x,), dynamic_shapes=({0: batch},)).module()


def traced(model, x):
    file = io.BytesIO()
    with warnings.catch_warnings():  # that sizes become constants, and that it is deprecated
        warnings.simplefilter('ignore')
        torch.jit.save(torch.jit.trace(model, (x,), check_trace=False), file)
        file.seek(0)
        return torch.jit.load(file)


def compiled(model, x):
    torch.compiler.reset()
    return torch.compile(model, backend='eager', fullgraph=True, dynamic=False)


def faked(model, x):
    """A pass without numbers, as tools do that count shapes."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        model(mode.from_tensor(x))
    return model


@pytest.mark.parametrize('tracer', [exported, traced, compiled, faked])
@pytest.mark.parametrize('name', BACKBONES)
def test_a_tracer_gives_the_same_and_leaves_every_model_as_it_was(name, tracer):
    torch.manual_seed(0)
    model, other = (scramble(BACKBONES[name]()).eval() for _ in range(2))
    x, y = images(), images(batch=5)
    with torch.no_grad():
        copy = tracer(model, x)
        expected = other(x)  # perhaps of the sizes that the tracer saw first
        for batch in (x, y):
            for a, b, c in zip(copy(batch), model(batch), other(batch)):
                assert type(b) is type(c) is torch.Tensor
                assert_close(b, c, rtol=0, atol=0)
                assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert all(map(torch.equal, expected, other(x)))


def test_a_layout_made_by_a_tracer_is_not_kept():
    """The first pass is the traced one; then training goes on as if there had been none."""
    torch.manual_seed(0)
    arch = dict(embed_dims=12, depths=[2], num_heads=[2])
    model = scramble(MaskedSwin(arch, 96, window_size=3, out_indices=(0,)))
    x = torch.randn(2, 3, 96, 96)
    exported(model, x)
    traced(model, x)
    (feature,) = model(x)
    feature.sum().backward()
    assert type(feature) is torch.Tensor
    assert model.patch_embed.projection.weight.grad.abs().sum() > 0
