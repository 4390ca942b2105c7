"""Round trips through every family, on models of ours at random widths and depths."""

import random

import pytest
import torch
from mmengine.registry import init_default_scope

from simmim_mm.interop import (
    convert,
    detect_family,
    families,
    infer_config,
    load_converted,
    model_config,
    revert,
)
from simmim_mm.registry import MODELS


def swin(rng: random.Random, v2: bool) -> dict:
    heads = rng.choice([1, 2])
    window, size = rng.choice([(4, 128), (6, 96), (3, 96), (12, 96)])
    encoder = dict(
        img_size=size,
        patch_size=4,
        in_chans=rng.choice([1, 3]),
        embed_dim=8 * heads,
        depths=[rng.randint(1, 3) for _ in range(4)],
        num_heads=[heads, 2 * heads, 2 * heads, 4 * heads],
        window_size=window,
        mlp_ratio=rng.choice([2.0, 4.0]),
        qkv_bias=True,
        ape=False,
        patch_norm=True,
        drop_path_rate=0.0,
    )
    # a second, shifted block: its mask tells the image size
    encoder['depths'][0] = max(2, encoder['depths'][0])
    config = dict(encoder=encoder, encoder_stride=32)
    return {**config, 'norm_target_patch': 47} if v2 else config


def vit(rng: random.Random) -> dict:
    encoder = dict(
        img_size=16 * rng.randint(2, 5),
        patch_size=16,
        in_chans=rng.choice([1, 3]),
        embed_dim=24,
        depth=rng.randint(1, 4),
        num_heads=rng.choice([2, 3, 4]),
        mlp_ratio=rng.choice([2.0, 4.0]),
        qkv_bias=True,
        drop_path_rate=0.0,
        init_values=0.1,
        use_abs_pos_emb=rng.choice([False, True]),
        use_rel_pos_bias=False,
        use_shared_rel_pos_bias=True,
        use_mean_pooling=False,
    )
    return dict(encoder=encoder, encoder_stride=16)


def mae(rng: random.Random) -> dict:
    return dict(
        img_size=8 * rng.randint(2, 6),
        patch_size=8,
        in_chans=rng.choice([1, 3]),
        embed_dim=192,
        depth=rng.randint(1, 3),
        num_heads=3,
        mlp_ratio=rng.choice([2.0, 4.0]),
        decoder_embed_dim=128,
        decoder_depth=rng.randint(1, 3),
        decoder_num_heads=4,
        norm_pix_loss=True,
    )


def plain_vit(rng: random.Random) -> dict:
    return dict(
        img_size=8 * rng.randint(2, 6),
        patch_size=8,
        in_chans=rng.choice([1, 3]),
        embed_dim=192,
        depth=rng.randint(1, 3),
        num_heads=3,
        mlp_ratio=rng.choice([2.0, 4.0]),
        qkv_bias=True,
        init_values=1e-5,
    )


def convnext(rng: random.Random, v2: bool = False) -> dict:
    return dict(
        in_chans=rng.choice([1, 3]),
        patch_size=4,
        depths=[rng.randint(1, 3) for _ in range(4)],
        dims=[8, 16, 24, 40],
        use_grn=v2,
        layer_scale=0.0 if v2 else 1e-6,
    )


def resnet(rng: random.Random) -> dict:
    return dict(depth=rng.choice([18, 34, 50]), in_chans=rng.choice([1, 3]), base_channels=8)


def convmae(rng: random.Random) -> dict:
    size, config = 16 * rng.randint(2, 4), mae(rng)
    return dict(
        config,
        img_size=[size, size // 4, size // 8],
        patch_size=[4, 2, 2],
        embed_dim=[8, 16, 192],
        depth=[rng.randint(1, 3) for _ in range(3)],
        mlp_ratio=[4.0, 4.0, 4.0],
    )


CONFIGS = {
    'simmim_swin': lambda rng: swin(rng, v2=False),
    'simmim_swinv2': lambda rng: swin(rng, v2=True),
    'simmim_vit': vit,
    'mae': mae,
    'convmae': convmae,
    'openmmlab_simmim': lambda rng: swin(rng, v2=False),
    'openmmlab_swinv2': lambda rng: swin(rng, v2=True),
    'openmmlab_beit': vit,
    'openmmlab_vit': plain_vit,
    'openmmlab_mae': mae,
    'swin': lambda rng: swin(rng, v2=False),
    'swinv2': lambda rng: swin(rng, v2=True),
    'timm_swin': lambda rng: swin(rng, v2=False),
    'timm_swinv2': lambda rng: swin(rng, v2=True),
    'timm_beit': vit,
    'timm_vit': plain_vit,
    'hf_swin': lambda rng: swin(rng, v2=False),
    'hf_swinv2': lambda rng: swin(rng, v2=True),
    'hf_beit': vit,
    'hf_vit_mae': mae,
    'hf_vit': lambda rng: {**plain_vit(rng), 'init_values': None},
    'hf_dinov2': plain_vit,
    'timm_convnext': lambda rng: convnext(rng, v2=rng.random() < 0.5),
    'convnext': lambda rng: convnext(rng, v2=rng.random() < 0.5),
    'hf_convnext': lambda rng: convnext(rng, v2=rng.random() < 0.5),
    'openmmlab_convnext': convnext,
    'timm_resnet': resnet,
    'openmmlab_resnet': resnet,
}
# Encoders that were not pretrained with a linear decoder and mask tokens.
ENCODERS = (
    *('swin', 'swinv2', 'timm_swin', 'timm_swinv2', 'timm_beit', 'timm_vit', 'hf_dinov2'),
    *('timm_convnext', 'convnext', 'hf_convnext', 'timm_resnet'),
)
# What tells them from MAE's encoder.
CLASSIFIER = {'timm_vit': 'head.weight', 'openmmlab_vit': 'head.layers.head.weight'}


def build(family: str, config: dict, seed: int = 0) -> torch.nn.Module:
    init_default_scope('simmim_mm')
    torch.manual_seed(seed)
    model = MODELS.build(model_config(family, config))
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.normal_()
    return model


@pytest.mark.parametrize('family', families())
@pytest.mark.parametrize('seed', [0, 1])
def test_round_trip_is_exact_and_complete(family, seed):
    config = CONFIGS[family](random.Random(seed))
    model, other = build(family, config), build(family, config, seed=1)
    theirs = revert(model.state_dict(), family)
    marks = {CLASSIFIER[family]: torch.zeros(1)} if family in CLASSIFIER else {}
    assert detect_family({**theirs, **marks}) == family

    report = load_converted(other, convert(theirs, family))
    if family in ENCODERS or family == 'hf_beit':
        expected = {k for k in model.state_dict() if k.startswith('neck.')}
        expected |= {'backbone.mask_token'} if family in ENCODERS else set()
        assert set(report.missing) == expected
        report.missing.clear()
    assert report.complete, str(report)
    tables = [k for k in model.state_dict() if k.endswith(('position_index', 'coords_table'))]
    expected = set(report.loaded) | set(tables)
    assert len(report.loaded) + len(tables) == len(expected)
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor) or name not in expected, name
    again = revert(other.state_dict(), family)
    assert again.keys() == theirs.keys()
    assert all(torch.equal(again[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize('family', families())
@pytest.mark.parametrize('seed', [0, 1])
def test_architecture_is_inferred_from_the_weights(family, seed):
    config = CONFIGS[family](random.Random(seed))
    theirs = revert(build(family, config).state_dict(), family)
    hints = {}
    if family in ('timm_swinv2', 'hf_swinv2'):
        hints = {name: config['encoder'][name] for name in ('img_size', 'window_size')}
    elif family in ('timm_swin', 'hf_swin', 'openmmlab_swinv2'):
        hints = dict(img_size=config['encoder']['img_size'])
    elif 'swin' in family:
        # as the authors' files have it: one for each window of the first stage
        encoder = config['encoder']
        count = (encoder['img_size'] // 4 // encoder['window_size']) ** 2
        theirs['encoder.layers.0.blocks.1.attn_mask'] = torch.zeros(count, 1, 1)
    elif family == 'openmmlab_simmim':
        hints = dict(img_size=config['encoder']['img_size'])
    inferred = infer_config(family, theirs, hints)
    assert model_config(family, inferred) == model_config(family, config)


def test_hints_of_the_file_and_of_the_user():
    config = mae(random.Random(0))
    theirs = revert(build('mae', config).state_dict(), 'mae')
    assert infer_config('mae', theirs, dict(norm_pix_loss=False))['norm_pix_loss'] is False
    odd = revert(build('mae', {**config, 'embed_dim': 24}).state_dict(), 'mae')
    with pytest.raises(ValueError, match=r'num_heads.*by hand'):
        infer_config('mae', odd)
    assert infer_config('mae', odd, dict(num_heads=3))['num_heads'] == 3


def test_every_flaw_is_reported():
    config = mae(random.Random(0))
    model = build('mae', config)
    theirs = revert(model.state_dict(), 'mae')
    theirs['head.weight'] = torch.zeros(1)
    theirs['blocks.7.norm1.bias'] = torch.zeros(1)
    theirs['norm.bias'] = torch.zeros(5)
    del theirs['decoder_pred.bias']
    before = model.state_dict()['backbone.ln1.bias'].clone()

    report = load_converted(model, convert(theirs, 'mae'))
    assert not report.complete
    assert report.left_over == ['head.weight']
    assert report.unexpected == ['backbone.layers.7.ln1.bias']
    assert report.missing == ['neck.decoder_pred.bias']
    assert report.mismatched == {'backbone.ln1.bias': ((5,), (192,))}
    assert torch.equal(model.state_dict()['backbone.ln1.bias'], before)
    for words in ('head.weight', 'layers.7', 'decoder_pred.bias', '1 missing', '1 left over'):
        assert words in str(report)
    assert 'backbone.ln1.bias: (5,) in the file, (192,) in the model' in str(report)


def test_encoder_alone_loads_and_names_the_missing_decoder():
    config = mae(random.Random(0))
    theirs = revert(build('mae', config).state_dict(), 'mae')
    encoder = {k: v for k, v in theirs.items() if 'decoder' not in k and k != 'mask_token'}
    inferred = infer_config('mae', encoder)
    report = load_converted(build('mae', inferred), convert(encoder))
    assert report.missing and all(name.startswith('neck.') for name in report.missing)


def test_unknown_weights_are_reported():
    with pytest.raises(ValueError, match=r'no known family.*layer1\.0\.conv1'):
        detect_family({'layer1.0.conv1': torch.zeros(1)})
    with pytest.raises(ValueError, match=r"'resnet'.*simmim_swin"):
        model_config('resnet', {})
