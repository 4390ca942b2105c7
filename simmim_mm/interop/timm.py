"""timm, and the plain encoders of microsoft/Swin-Transformer, whose names timm took over.

The authors' pretraining files have the same names behind ``encoder.``, so that these families are
theirs without it. No mask token is stored: pretraining starts with a new one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from torch import Tensor

from simmim_mm.interop import simmim_swin, simmim_vit
from simmim_mm.interop.common import (
    UNKNOWN,
    VIT_BLOCK,
    VIT_HEADS,
    block_rules,
    count,
    data_preprocessor,
    settle,
    shape,
    side,
)
from simmim_mm.interop.families import Family
from simmim_mm.interop.rules import Rule

PREFIX = 'encoder.'


def _without_prefix(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    own = [
        rule for rule in rules if rule.theirs.startswith(PREFIX) and 'mask_token' not in rule.ours
    ]
    return tuple(replace(rule, theirs=rule.theirs[len(PREFIX) :]) for rule in own)


def not_stored(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """Index tables are dropped where old files have them, and not written: the code makes them."""
    return tuple(replace(rule, ours='') if rule.regenerated else rule for rule in rules)


def _infer(state: Mapping[str, Tensor], hints: dict, base: Family) -> dict:
    return base.infer_config({PREFIX + key: tensor for key, tensor in state.items()}, hints)


def _plain(name: str, title: str, base: Family, rules: Sequence[Rule], detect: Callable) -> Family:
    infer = partial(_infer, base=base)
    return Family(name, title, tuple(rules), detect, base.model_config, infer)


def _is_swin(state: Mapping[str, Tensor], mark: str, official: bool) -> bool:
    merges = 'layers.0.downsample.reduction.weight' in state
    return f'layers.0.blocks.0.attn.{mark}' in state and merges == official


_V1, _V2 = simmim_swin.V1, simmim_swin.V2
_BIASES, _SCALE = 'relative_position_bias_table', 'logit_scale'
_MERGED_V1 = ('reduction.weight', 'norm.weight', 'norm.bias')  # in the order of the neighbors

OFFICIAL_SWIN = _plain(
    'swin',
    'Swin, trained with labels or fine-tuned (microsoft/Swin-Transformer)',
    _V1,
    _without_prefix(_V1.rules),
    partial(_is_swin, mark=_BIASES, official=True),
)
OFFICIAL_SWIN_V2 = _plain(
    'swinv2',
    'Swin v2, trained with labels or fine-tuned (microsoft/Swin-Transformer)',
    _V2,
    _without_prefix(_V2.rules),
    partial(_is_swin, mark=_SCALE, official=True),
)
# timm merges patches at the start of a stage, the authors at the end of the one before
SWIN = _plain(
    'timm_swin',
    'Swin of timm',
    _V1,
    (
        *simmim_swin.merge_rules('layers.{i+1}', 'stages.{i}', _MERGED_V1),
        *not_stored(_without_prefix(_V1.rules)),
    ),
    partial(_is_swin, mark=_BIASES, official=False),
)
SWIN_V2 = _plain(
    'timm_swinv2',
    'Swin v2 of timm',
    _V2,
    (
        *simmim_swin.merge_rules('layers.{i}', 'stages.{i}', ('reduction.weight',)),
        *not_stored(_without_prefix(_V2.rules)),
    ),
    partial(_is_swin, mark=_SCALE, official=False),
)
BEIT = _plain(
    'timm_beit',
    'BEiT of timm, and of microsoft/unilm',
    simmim_vit.FAMILY,
    not_stored(_without_prefix(simmim_vit.FAMILY.rules)),
    lambda state: {'patch_embed.proj.weight', 'blocks.0.attn.q_bias'} <= set(state),
)


def vit_model(config: dict) -> dict:
    """SimMIM's model around a plain ViT, with mask tokens."""
    dims = config['embed_dim']
    return dict(
        type='MaskedImageModel',
        data_preprocessor=data_preprocessor(config['in_chans']),
        backbone=dict(
            type='MaskedViT',
            mask_mode='token',
            arch=dict(
                embed_dims=dims,
                num_layers=config['depth'],
                num_heads=config['num_heads'],
                feedforward_channels=int(dims * config['mlp_ratio']),
            ),
            img_size=config['img_size'],
            patch_size=config['patch_size'],
            in_channels=config['in_chans'],
            qkv_bias=config['qkv_bias'],
            layer_scale_init_value=config['init_values'] or 0.0,
        ),
        neck=dict(
            type='PixelShuffleDecoder',
            in_channels=dims,
            stride=config['patch_size'],
            out_channels=config['in_chans'],
        ),
        head=dict(type='PixelHead', loss=dict(type='MaskedPixelLoss', criterion='l1')),
    )


def infer_vit(state: Mapping[str, Tensor], hints: dict) -> dict:
    """timm's constructor arguments of a plain ViT."""
    dims, in_chans, patch, _ = shape(state, 'patch_embed.proj.weight')
    config = dict(
        img_size=side(shape(state, 'pos_embed')[1] - 1, 'tokens') * patch,
        patch_size=patch,
        in_chans=in_chans,
        embed_dim=dims,
        depth=count(state, r'blocks\.(\d+)\.'),
        num_heads=VIT_HEADS.get(dims, UNKNOWN),
        mlp_ratio=shape(state, 'blocks.0.mlp.fc1.weight')[0] / dims,
        qkv_bias='blocks.0.attn.qkv.bias' in state,
        init_values=1e-5 if 'blocks.0.ls1.gamma' in state else None,
    )
    return settle(config, hints)


def _is_vit(state: Mapping[str, Tensor]) -> bool:
    plain = {'cls_token', 'pos_embed', 'blocks.0.attn.qkv.weight', 'patch_embed.proj.weight'}
    # of the same names as MAE's encoder: what labels were learned with tells them apart
    labels = ('head.weight', 'head.bias', 'fc_norm.weight', 'blocks.0.ls1.gamma')
    return plain <= set(state) and any(name in state for name in labels)


VIT = Family(
    name='timm_vit',
    title='ViT of timm, for mask tokens (MAE of timm: mae)',
    rules=(
        Rule('cls_token', 'backbone.cls_token'),
        Rule('pos_embed', 'backbone.pos_embed'),
        Rule('patch_embed.proj.{rest}', 'backbone.patch_embed.projection.{rest}'),
        Rule('blocks.{i}.ls1.gamma', 'backbone.layers.{i}.attn.gamma1.weight'),
        Rule('blocks.{i}.ls2.gamma', 'backbone.layers.{i}.ffn.gamma2.weight'),
        *block_rules('blocks.{i}', 'backbone.layers.{i}', VIT_BLOCK),
        Rule('norm.{rest}', 'backbone.ln1.{rest}'),
    ),
    detect=_is_vit,
    model_config=vit_model,
    infer_config=infer_vit,
)
FAMILIES = (OFFICIAL_SWIN, OFFICIAL_SWIN_V2, SWIN, SWIN_V2, BEIT, VIT)
