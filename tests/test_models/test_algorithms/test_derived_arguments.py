"""What follows from another part of a model need not be given; what is given wins."""

import copy

import pytest
import torch
from mmengine.model import BaseModule
from mmengine.structures import BaseDataElement
from torch import nn

from simmim_mm.models.algorithms import MaskedImageModel
from simmim_mm.models.backbones import MaskedViT
from simmim_mm.models.necks import PixelShuffleDecoder
from simmim_mm.registry import MODELS

VIT = dict(embed_dims=8, num_layers=1, num_heads=2, feedforward_channels=16)
SWIN = dict(embed_dims=4, depths=[1, 1], num_heads=[1, 2])
CONV = dict(embed_dims=(4, 4, 8), depths=(1, 1, 1), num_heads=2, mlp_ratios=(2, 2, 2))
SMALL = dict(decoder_embed_dim=8, decoder_depth=1, decoder_num_heads=2)
# backbone, decoder; what 0.1 had to be told about the backbone's channels and the decoder
PAIRS = {
    'swin': (
        dict(type='MaskedSwin', arch=SWIN, img_size=(32, 48), out_indices=(1,)),
        dict(type='PixelShuffleDecoder'),
        dict(in_channels=8, stride=8),
    ),
    'swin, several maps': (
        dict(type='MaskedSwin', arch=SWIN, img_size=(32, 48), out_indices=(0, 1)),
        dict(type='MLPDecoder'),
        dict(in_channels=8, stride=8),
    ),
    'swin v2, inverse swin': (
        dict(
            type='MaskedSwinV2',
            arch=dict(SWIN, extra_norm_every_n_blocks=0),
            img_size=(32, 48),
            out_indices=(1,),
        ),
        dict(type='InverseSwinDecoder', arch=SWIN, window_size=4),
        dict(in_channels=8, patch_size=4, img_size=(32, 48)),
    ),
    'vit': (
        dict(type='MaskedViT', arch=VIT, img_size=(32, 48), patch_size=8),
        dict(type='PixelShuffleDecoder'),
        dict(in_channels=8, stride=8),
    ),
    'mae': (
        dict(type='MaskedViT', arch=VIT, img_size=(32, 48), patch_size=8, mask_mode='gather'),
        dict(type='TransformerDecoder', **SMALL),
        dict(in_channels=8, patch_size=8, img_size=(32, 48), with_cls_token=True),
    ),
    'convmae': (
        dict(type='MaskedConvViT', arch=CONV, img_size=(32, 48), patch_sizes=(2, 2, 2)),
        dict(type='TransformerDecoder', **SMALL),
        dict(in_channels=8, patch_size=8, img_size=(32, 48), with_cls_token=False),
    ),
    'beit': (
        dict(type='MaskedBEiT', arch=VIT, img_size=(32, 48), patch_size=8),
        dict(type='PixelShuffleDecoder'),
        dict(in_channels=8, stride=8),
    ),
    'resnet': (
        dict(type='MaskedResNet', depth=18, stem_channels=4, base_channels=4),
        dict(type='PixelShuffleDecoder'),
        dict(in_channels=32, stride=32),
    ),
    'convnext': (
        dict(type='MaskedConvNeXt', arch=dict(depths=[1] * 4, channels=[4, 4, 8, 8])),
        dict(type='PixelShuffleDecoder'),
        dict(in_channels=8, stride=32),
    ),
    'adapted': (
        dict(
            type='MaskedBackbone',
            backbone=dict(
                type='mmpretrain.SwinTransformer',
                arch=SWIN,
                img_size=(32, 48),
                window_size=4,
                out_indices=(1,),
            ),
        ),
        dict(type='PixelShuffleDecoder'),
        dict(in_channels=8, stride=8),
    ),
}
TARGETS = {
    'pixels': ([], dict(type='MaskedPixelLoss'), 1, 1),
    'low resolution': (
        [dict(type='LowResolution', factor=2)],
        dict(type='MaskedPixelLoss'),
        2,
        1,
    ),
    'a variance for each value': ([], dict(type='GaussianLikelihood'), 1, 2),
    'a variance for each channel': ([], dict(type='GaussianLikelihood', variance='channel'), 1, 1),
    'bins': ([dict(type='UnitRange')], dict(type='ColorBins', bins=4), 1, 4),
    'HOG': ([dict(type='HOG', cell=4, bins=5)], dict(type='MaskedPixelLoss'), 4, 5),
}


def build(backbone, neck, target=(), loss=dict(type='MaskedPixelLoss'), channels=3, **kwargs):
    torch.manual_seed(0)
    stats = dict(mean=[120.0] * channels, std=[60.0] * channels)
    return MODELS.build(
        dict(
            type='MaskedImageModel',
            backbone=backbone,
            neck=neck,
            head=dict(type='PixelHead', loss=loss),
            data_preprocessor=dict(type='MIMDataPreprocessor', **stats),
            target=target,
            **kwargs,
        )
    )


@pytest.mark.parametrize('channels', [3, 5])
@pytest.mark.parametrize('target', TARGETS)
@pytest.mark.parametrize('pair', PAIRS)
def test_a_short_config_is_the_long_one(pair, target, channels):
    backbone, neck, told = PAIRS[pair]
    targets, loss, factor, widths = TARGETS[target]
    told = dict(told, out_channels=channels * widths)
    for name in ('stride', 'patch_size'):
        if name in told:
            told[name] //= factor
    if 'img_size' in told:
        told['img_size'] = tuple(side // factor for side in told['img_size'])
    long_backbone, long_loss = copy.deepcopy(backbone), dict(loss)
    long_backbone.get('backbone', long_backbone)['in_channels'] = channels
    if loss.get('variance') == 'channel':
        long_loss['channels'] = channels
    short = build(backbone, neck, targets, loss, channels)
    long = build(long_backbone, dict(neck, **told), targets, long_loss, channels)
    assert repr(short) == repr(long)
    for (name, a), (other, b) in zip(short.state_dict().items(), long.state_dict().items()):
        assert name == other and torch.equal(a, b)

    x = torch.randn(2, channels, 32, 64 if pair in ('resnet', 'convnext') else 48)
    masks = torch.eye(4, dtype=torch.bool).repeat(1, 2)[:, : x.shape[-1] // 8].expand(2, -1, -1)
    samples = [BaseDataElement(mask=mask) for mask in masks]
    assert short.loss(x, samples)['loss'].isfinite()


@pytest.mark.parametrize('pair', ['swin', 'mae', 'convmae'])
def test_the_foreground_branch_gets_a_decoder_of_one_channel(pair):
    backbone, neck, told = PAIRS[pair]
    branch = dict(type='ForegroundBranch', neck=neck)
    short = build(backbone, neck, [dict(type='LowResolution', factor=2)], foreground=branch)
    branch = dict(type='ForegroundBranch', neck=dict(neck, **told, out_channels=1))
    long = build(backbone, neck, [dict(type='LowResolution', factor=2)], foreground=branch)
    assert repr(short.foreground) == repr(long.foreground)


@pytest.mark.parametrize(
    ('pair', 'side'), [('mae', 8), ('convmae', 8), ('vit', 8), ('beit', 8), ('swin', 16)]
)
def test_patches_are_normalized_as_they_are_predicted(pair, side):
    backbone, neck, _ = PAIRS[pair]
    model = build(backbone, neck, [dict(type='NormPix'), dict(type='NormPix', patch_size=4)])
    assert [generator.patch_size for generator in model.target] == [side, 4]


@pytest.mark.parametrize(('name', 'value'), [('stride', 4), ('img_size', 64)])
def test_what_is_given_wins(name, value, monkeypatch):
    given = []

    @MODELS.register_module(name='_Recorder', force=True)
    class Recorder(PixelShuffleDecoder):
        def __init__(self, img_size=None, **kwargs):
            given.append(dict(kwargs, img_size=img_size))
            super().__init__(**kwargs)

    build(PAIRS['vit'][0], dict(type='_Recorder', **{name: value}))
    expected = dict(in_channels=8, out_channels=3, stride=8, img_size=(32, 48))
    assert given == [{**expected, name: value}]


@MODELS.register_module()
class _OwnDecoder(BaseModule):
    """As a user wrote it for version 0.1: it takes none of what is derived."""

    def __init__(self, width, init_cfg=None):
        super().__init__(init_cfg)
        self.layer = nn.Sequential(nn.Conv2d(width, 8 * 8 * 3, 1), nn.PixelShuffle(8))

    def forward(self, feats, mask):
        return self.layer(feats[-1])


@MODELS.register_module()
class _OwnBackbone(nn.Module):
    """As a user wrote it for version 0.1: it says nothing about itself."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 8, 8, 8)

    def forward(self, x, mask=None):
        x = self.layer(x)
        return (x if mask is None else x.masked_fill(mask[:, None], 0.0),)


@pytest.mark.parametrize('backbone', [PAIRS['vit'][0], dict(type='_OwnBackbone')])
@pytest.mark.parametrize(
    'neck',
    [
        dict(type='_OwnDecoder', width=8),
        dict(type='PixelShuffleDecoder', in_channels=8, stride=8),
    ],
)
def test_parts_of_others_need_not_take_or_say_anything(backbone, neck):
    model = build(backbone, neck)
    samples = [BaseDataElement(mask=torch.eye(4, 6, dtype=torch.bool))]
    assert model.loss(torch.randn(1, 3, 32, 48), samples)['loss'].isfinite()


def test_types_may_be_classes():
    """As in configs of mmengine's new style."""
    backbone, neck, _ = PAIRS['vit']
    model = build(dict(backbone, type=MaskedViT), dict(neck, type=PixelShuffleDecoder))
    assert isinstance(model, MaskedImageModel) and model.neck.in_channels == 8
