"""Which backbones of mmpretrain take a mask through the adapter."""

import copy

import pytest
import torch
from masked_backbone_suite import MaskedBackboneSuite, scramble
from mmpretrain.models.backbones import HiViT, PoolFormer
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from torch.testing import assert_close

from simmim_mm.masking import upsample_mask
from simmim_mm.models.backbones.masked_adapter import masked_class
from simmim_mm.registry import MODELS

VIT = dict(
    arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32),
    img_size=64,
    patch_size=16,
)
SWIN = dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2])
POOL = dict(
    arch=dict(
        layers=[1] * 4, embed_dims=[8, 12, 16, 24], mlp_ratios=[2] * 4, layer_scale_init_value=0.1
    )
)
TWINS = dict(
    embed_dims=[8, 8, 16, 16],
    depths=[1] * 4,
    num_heads=[1, 1, 2, 2],
    patch_sizes=[4, 2, 2, 2],
    strides=[4, 2, 2, 2],
    mlp_ratios=[2] * 4,
    sr_ratios=[8, 4, 2, 1],
)
TINY_VIT = dict(channels=[8, 8, 16, 16], num_heads=[1, 1, 2, 2], depths=[1] * 4)
# pixels per token, pixels per position of the last map, arguments
WORK = dict(
    VisionTransformer=(16, 16, VIT),
    DistilledVisionTransformer=(16, 16, VIT),
    DeiT3=(16, 16, VIT),
    BEiTViT=(16, 16, VIT),
    ViTEVA02=(16, 16, VIT),
    RevVisionTransformer=(16, 16, VIT),
    ViTSAM=(
        16,
        16,
        dict(VIT, arch=dict(VIT['arch'], global_attn_indexes=[1]), out_channels=8, window_size=2),
    ),
    XCiT=(
        16,
        16,
        dict(
            img_size=64,
            patch_size=16,
            embed_dims=16,
            depth=2,
            cls_attn_layers=1,
            num_heads=2,
            out_indices=(1,),
        ),
    ),
    HiViT=(
        16,
        16,
        dict(arch=dict(embed_dims=16, depths=[1, 1, 8], num_heads=2), img_size=64, out_indices=[7]),
    ),
    SwinTransformer=(4, 32, dict(arch=SWIN, img_size=64, window_size=2)),
    SwinTransformerV2=(
        4,
        32,
        dict(arch=dict(SWIN, extra_norm_every_n_blocks=0), img_size=64, window_size=2),
    ),
    MViT=(
        4,
        32,
        dict(
            arch=dict(embed_dims=8, num_layers=4, num_heads=1, downscale_indices=[1, 2, 3]),
            img_size=64,
        ),
    ),
    DaViT=(4, 32, dict(arch=SWIN, pad_small_map=True)),
    PoolFormer=(4, 32, POOL),
    RIFormer=(4, 32, POOL),
    TinyViT=(
        4,
        32,
        dict(
            arch=dict(TINY_VIT, window_sizes=[2] * 4),
            img_size=(64, 64),
            gap_before_final_norm=False,
        ),
    ),
    LeViT=(16, 64, dict(arch='128s', img_size=128)),
    PCPVT=(4, 32, dict(arch=TWINS)),
    SVT=(4, 32, dict(arch=dict(TWINS, window_sizes=[2] * 4))),
    VAN=(4, 32, dict(arch=dict(embed_dims=[8] * 4, depths=[1] * 4, ffn_ratios=[2] * 4))),
)
# no patch embedding to put the token behind
REFUSED = dict(
    TNT=dict(
        arch=dict(
            embed_dims_outer=16,
            embed_dims_inner=8,
            num_layers=1,
            num_heads_outer=2,
            num_heads_inner=2,
        ),
        img_size=64,
    ),
    T2T_ViT=dict(img_size=64),
    ConvMixer=dict(arch='768/32'),
    MobileNetV2=dict(),
)


def build(name, **kwargs):
    cfg = dict(type='MaskedBackbone', backbone=dict(type=f'mmpretrain.{name}', **kwargs))
    torch.manual_seed(0)
    return MODELS.build(cfg).eval()


class TestMaskedPoolFormer(MaskedBackboneSuite):
    """Overlapping patches, maps."""

    backbone = masked_class(PoolFormer)
    reference = PoolFormer
    kwargs = POOL

    def build(self, img_size=None, **overrides):  # takes images of any size
        return super().build(**overrides)

    test_any_number_of_channels = None  # three, in mmpretrain
    test_built_from_a_config_of_another_scope = None  # its config names the wrapped class


class TestMaskedHiViT(TestMaskedPoolFormer):
    """Tokens of several parts each."""

    backbone = masked_class(HiViT)
    reference = HiViT
    kwargs = WORK['HiViT'][2]
    out_stride = 16

    def build(self, **overrides):
        return MaskedBackboneSuite.build(self, **overrides)

    test_height_and_width_may_differ = None  # square images, in mmpretrain


@pytest.mark.parametrize('name', WORK)
def test_takes_a_mask(name):
    stride, out_stride, kwargs = WORK[name]
    model = build(name, **kwargs)
    side = kwargs.get('img_size', 64)
    side = side if isinstance(side, int) else side[0]
    grid = side // stride
    assert model.token_stride == stride
    x, mask = torch.randn(2, 3, side, side), torch.rand(2, grid, grid) < 0.5
    torch.nn.init.normal_(model.mask_token)
    feats = model(x, mask)
    assert feats[-1].shape[-2:] == (side // out_stride, side // out_stride)
    if name != 'ViTSAM':  # which has an argument of the name out_channels
        assert model.out_channels == tuple(feat.shape[1] for feat in feats)
        assert model.out_strides == tuple(side // feat.shape[2] for feat in feats)

    # masked pixels do not reach it, the mask does
    noise = torch.where(upsample_mask(mask, (side, side)), torch.randn_like(x), x)
    assert_close(model(noise, mask), feats, rtol=0, atol=0)
    plain = model(x)
    assert any(not torch.equal(a, b) for a, b in zip(feats, plain))
    feats[-1].square().sum().backward()
    assert model.mask_token.grad.abs().sum() > 0

    # the weights are those of the wrapped class, in which they give the same features
    base = MMPRETRAIN_MODELS.get(name)
    cfg = dict(kwargs, out_type='featmap') if hasattr(model, 'out_type') else kwargs
    other = base(**copy.deepcopy(cfg))
    other.eval()
    assert set(other.state_dict()) == set(model.state_dict()) - {'mask_token'}
    other.load_state_dict(model.state_dict(), strict=False)
    assert isinstance(model, base)
    assert_close(other(x), plain)


@pytest.mark.parametrize('name', REFUSED)
def test_refused_at_build_time(name):
    with pytest.raises(ValueError, match=f'{name} has no patch_embed'):
        build(name, **REFUSED[name])


def test_features_that_are_no_maps_are_refused():
    arch = dict(embed_dims=16, num_layers=1, tokens_mlp_dims=8, channels_mlp_dims=16)
    model = build('MlpMixer', arch=arch, img_size=64, patch_size=16)
    with pytest.raises(ValueError, match='MlpMixer does not give maps'):
        model(torch.randn(1, 3, 64, 64), torch.zeros(1, 4, 4).bool())


def test_a_copy_uses_its_own_token():
    """As an average of weights (EMA) makes one."""
    model = build('PoolFormer', **POOL)
    other = scramble(copy.deepcopy(model), seed=1)
    x, mask = torch.randn(1, 3, 32, 32), torch.ones(1, 8, 8).bool()
    before = model(x, mask)[0]
    assert not torch.allclose(other(x, mask)[0], before)
    assert_close(model(x, mask)[0], before)


def test_the_mask_ends_with_the_call():
    model = build('PoolFormer', **POOL)
    x = torch.randn(1, 3, 32, 32)
    plain = model(x)
    with pytest.raises(ValueError):
        model(x, torch.ones(1, 3, 3).bool())
    model(x, torch.ones(1, 8, 8).bool())
    assert_close(model(x), plain)
