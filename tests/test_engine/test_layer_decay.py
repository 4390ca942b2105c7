"""Layer-wise learning rates, by hand."""

import pytest
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from simmim_mm.engine import LayerDecayOptimWrapperConstructor


def rates(model, decay=0.5, lr=1.0, **paramwise):
    """Learning rate and weight decay by name of the parameter."""
    constructor = LayerDecayOptimWrapperConstructor(
        dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=lr, weight_decay=0.05)),
        dict(layer_decay_rate=decay, flat_decay_mult=0.0, **paramwise),
    )
    groups = constructor(model).optimizer.param_groups
    settings = {id(p): (g['lr'], g['weight_decay']) for g in groups for p in g['params']}
    return {n: settings[id(p)] for n, p in model.named_parameters() if id(p) in settings}


def classifier(**backbone):
    """A model around a backbone, as downstream; one layer stands for neck and head."""
    model = nn.Module()
    model.backbone = MODELS.build(backbone)
    model.head = nn.Linear(2, 2)
    return model


SWIN = dict(embed_dims=24, depths=[1, 2, 1], num_heads=[1, 2, 4])
# layer of the n layers, for parameters by name: the authors' numbering
BY_HAND = {
    'Swin': (
        dict(type='simmim_mm.MaskedSwin', arch=SWIN, img_size=32, window_size=2, out_indices=(2,)),
        6,
        {
            'patch_embed.projection.weight': 0,
            'stages.0.blocks.0.attn.w_msa.relative_position_bias_table': 1,
            'stages.0.downsample.reduction.weight': 1,
            'stages.1.blocks.0.norm1.weight': 2,
            'stages.1.blocks.1.ffn.layers.1.bias': 3,
            'stages.1.downsample.norm.weight': 3,
            'stages.2.blocks.0.attn.w_msa.qkv.weight': 4,
            'norm2.weight': 5,
        },
    ),
    'Swin v2': (
        dict(
            type='simmim_mm.MaskedSwinV2',
            arch=dict(SWIN, extra_norm_every_n_blocks=0),
            img_size=32,
            window_size=2,
            out_indices=(2,),
        ),
        6,
        {
            'patch_embed.projection.weight': 0,
            'stages.0.blocks.0.attn.w_msa.logit_scale': 1,
            'stages.1.downsample.reduction.weight': 1,  # of mmpretrain's stage 1, behind stage 0
            'stages.1.blocks.0.norm1.weight': 2,
            'stages.1.blocks.1.attn.w_msa.cpb_mlp.0.weight': 3,
            'stages.2.downsample.norm.weight': 3,
            'stages.2.blocks.0.attn.w_msa.qkv.weight': 4,
            'norm2.weight': 5,
        },
    ),
    'ViT': (
        dict(
            type='simmim_mm.MaskedViT',
            arch=dict(embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=32),
            img_size=32,
            patch_size=8,
            frozen_pos_embed=False,
        ),
        5,
        {
            'cls_token': 0,
            'pos_embed': 0,
            'patch_embed.projection.bias': 0,
            'layers.0.ln1.weight': 1,
            'layers.2.ffn.layers.1.weight': 3,
            'ln1.weight': 4,
        },
    ),
    'BEiT': (
        dict(
            type='simmim_mm.MaskedBEiT',
            arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32),
            img_size=32,
            patch_size=8,
            use_shared_rel_pos_bias=True,
        ),
        4,
        {
            'cls_token': 0,
            'patch_embed.projection.weight': 0,
            'layers.0.attn.qkv.weight': 1,
            'layers.1.gamma_1': 2,
            'rel_pos_bias.relative_position_bias_table': 3,
            'ln1.weight': 3,
        },
    ),
    'ConvViT': (
        dict(
            type='simmim_mm.MaskedConvViT',
            arch=dict(embed_dims=(8, 8, 16), depths=(1, 2, 2), num_heads=2, mlp_ratios=(2, 2, 2)),
            img_size=32,
            frozen_pos_embed=False,
            fusion=False,
        ),
        7,
        {
            'pos_embed': 0,
            'patch_embed1.proj.weight': 0,
            'blocks1.0.attn.weight': 1,
            'patch_embed2.norm.weight': 1,
            'blocks2.0.conv1.weight': 2,
            'blocks2.1.mlp.fc1.weight': 3,
            'patch_embed3.proj.weight': 3,
            'patch_embed4.weight': 3,
            'blocks3.0.attn.qkv.weight': 4,
            'blocks3.1.ffn.layers.1.weight': 5,
            'norm.weight': 6,
        },
    ),
}


@pytest.mark.parametrize('family', BY_HAND)
def test_rates_are_those_computed_by_hand(family):
    backbone, num_layers, layers = BY_HAND[family]
    found = rates(classifier(**backbone), decay=0.5)
    for name, layer in layers.items():
        # the last layer learns at the base rate, each one before it at half the next one's
        assert found[f'backbone.{name}'][0] == 0.5 ** (num_layers - 1 - layer), name
    assert found['head.weight'][0] == 1.0
    # every layer has a rate of its own, none is skipped
    assert {lr for lr, _ in found.values()} == {0.5**i for i in range(num_layers)}


def built(config, scope):
    cfg = Config.fromfile(config)
    for module in cfg.custom_imports['imports']:
        __import__(module)
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(cfg.model)
        wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    settings = {id(p): g['lr'] for g in wrapper.param_groups for p in g['params']}
    return cfg.optim_wrapper.optimizer.lr, {
        n: settings[id(p)] for n, p in model.named_parameters() if p.requires_grad
    }


@pytest.mark.parametrize('task', ['detection', 'segmentation'])
def test_rates_in_a_detector_and_a_segmenter(task):
    pytest.importorskip('mmdet')
    pytest.importorskip('mmseg')
    config = dict(
        detection='configs/downstream/detection/faster-rcnn_swin-micro-w6_1xb4-coslr-36e_coco-json.py',
        segmentation='configs/downstream/segmentation/upernet_swin-micro-w6_1xb4-coslr-4k_folder.py',
    )[task]
    scope = dict(detection='mmdet', segmentation='mmseg')[task]
    __import__(f'{scope}.models')
    lr, found = built(config, scope)
    assert lr == 2e-4
    # depths 2, 2, 2, 2: ten layers, decay 0.9, worked out with a pocket calculator
    expected = {
        'backbone.patch_embed.projection.weight': 2e-4 * 0.387420489,  # 0.9 ** 9
        'backbone.stages.0.blocks.0.norm1.weight': 2e-4 * 0.43046721,  # 0.9 ** 8
        'backbone.stages.0.downsample.reduction.weight': 2e-4 * 0.4782969,  # 0.9 ** 7
        'backbone.stages.2.blocks.1.ffn.layers.1.weight': 2e-4 * 0.729,  # 0.9 ** 3
        'backbone.stages.3.blocks.1.attn.w_msa.qkv.weight': 2e-4 * 0.9,
        'backbone.norm3.weight': 2e-4,
    }
    for name, rate in expected.items():
        assert found[name] == pytest.approx(rate, rel=1e-9), name
    others = {name: rate for name, rate in found.items() if not name.startswith('backbone.')}
    assert len(others) > 20
    assert set(others.values()) == {2e-4}


def test_rates_are_logged(caplog):
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    try:
        with caplog.at_level('INFO', logger=logger.name):
            rates(classifier(**BY_HAND['ViT'][0]))
    finally:
        logger.removeHandler(caplog.handler)
    rows = [line.split() for line in caplog.records[-1].getMessage().splitlines()]
    assert ['0', '0.0625', '0.05'] in [row[:3] for row in rows]
    assert any(row[:2] == ['4', '1'] and row[-1] == 'head' for row in rows)


def test_exemptions_from_weight_decay_and_factors_hold_beside_the_layers():
    found = rates(
        classifier(**BY_HAND['ViT'][0]),
        custom_keys={'pos_embed': dict(decay_mult=0.0), 'head': dict(lr_mult=10.0)},
    )
    assert found['backbone.pos_embed'] == (0.5**4, 0.0)
    assert found['backbone.layers.0.ln1.weight'] == (0.5**3, 0.0)  # one-dimensional
    assert found['backbone.layers.0.attn.qkv.weight'] == (0.5**3, 0.05)
    assert found['head.weight'] == (10.0, 0.05)


def test_groups_are_few_and_hold_every_trained_parameter_once():
    model = classifier(**BY_HAND['Swin'][0])
    model.shared = model.head
    model.backbone.patch_embed.requires_grad_(False)
    constructor = LayerDecayOptimWrapperConstructor(
        dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.05)),
        dict(layer_decay_rate=0.9, flat_decay_mult=0.0),
    )
    groups = constructor(model).optimizer.param_groups
    assert len(groups) <= 2 * 6
    tensors = [id(p) for g in groups for p in g['params']]
    trained = {id(p) for p in model.parameters() if p.requires_grad}
    # which optimizers' states of earlier versions hold
    assert sorted(tensors) == sorted(trained | {id(model.backbone.mask_token)})
    assert not model.backbone.mask_token.requires_grad


@pytest.mark.parametrize(
    'paramwise', [None, {}, dict(layer_decay_rate=0), dict(layer_decay_rate=2)]
)
def test_a_missing_or_impossible_rate_is_refused(paramwise):
    wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1.0))
    with pytest.raises(ValueError, match='layer_decay_rate'):
        LayerDecayOptimWrapperConstructor(wrapper, paramwise)


def test_a_backbone_without_layers_is_refused():
    model = nn.Module()
    model.backbone = nn.Linear(2, 2)
    with pytest.raises(ValueError, match='Linear has no get_layer_depth'):
        rates(model)
