"""mmpretrain and mmselfsup (SimMIM, MAE, PixMIM, and what was trained with labels): our names."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from torch import Tensor

from simmim_mm.interop import mae, simmim_swin, simmim_vit, timm
from simmim_mm.interop.families import Family
from simmim_mm.interop.rules import Rule, undo_rules

_INDEX = ('relative_position_index', 'relative_coords_table')
_ARRANGED = (
    Rule('data_preprocessor.{rest}', 'data_preprocessor.{rest}', regenerated=True),
    *(Rule(f'backbone.{{rest}}.{n}', f'backbone.{{rest}}.{n}', regenerated=True) for n in _INDEX),
    Rule('backbone.{rest}', 'backbone.{rest}'),
    Rule('neck.{rest}', 'neck.{rest}'),
)


def _infer(state: Mapping[str, Tensor], hints: dict, base: Family) -> dict:
    """By way of the authors' names, whose shapes ``base`` can read."""
    return base.infer_config(undo_rules(base.rules, state), hints)


def _infer_swin(state: Mapping[str, Tensor], hints: dict) -> dict:
    config = _infer(state, hints, simmim_swin.V1)
    encoder = config['encoder']
    if 'img_size' not in hints:  # no attention masks are stored: the map of the last stage decides
        last = len(encoder['depths']) - 1
        table = state[f'backbone.stages.{last}.blocks.0.attn.w_msa.relative_position_bias_table']
        clamped = (int(len(table) ** 0.5) + 1) // 2
        size = clamped * config['encoder_stride']
        # windows that are not clamped leave several sizes: mmpretrain pretrains at 192
        pretrained = 'backbone.mask_token' in state and clamped == encoder['window_size']
        encoder['img_size'] = 192 if pretrained else size
    return config


def _family(
    name: str, title: str, base: Family, marks: Sequence[str], infer: Callable | None = None
) -> Family:
    return Family(
        name=f'openmmlab_{name}',
        title=f'{title} of mmpretrain and mmselfsup',
        rules=_ARRANGED,
        detect=lambda state: {f'backbone.{mark}' for mark in marks} <= set(state),
        model_config=base.model_config,
        infer_config=infer or partial(_infer, base=base),
    )


_ATTENTION = 'stages.0.blocks.0.attn.w_msa'
_VIT = _family('vit', 'ViT', timm.VIT, ('pos_embed', 'layers.0.attn.qkv.weight'))


def _has_classifier(state: Mapping[str, Tensor]) -> bool:
    # MAE's encoder has the same names
    return _VIT.detect(state) and any(key.startswith('head.') for key in state)


FAMILIES = (
    _family(
        'simmim',
        'Swin, SimMIM and others',
        simmim_swin.V1,
        (f'{_ATTENTION}.relative_position_bias_table',),
        _infer_swin,
    ),
    _family('swinv2', 'Swin v2', simmim_swin.V2, (f'{_ATTENTION}.logit_scale',)),
    _family('beit', 'BEiT', simmim_vit.FAMILY, ('layers.0.attn.q_bias',)),
    replace(_VIT, detect=_has_classifier),
    _family('mae', 'MAE and PixMIM', mae.FAMILY, ('pos_embed', 'layers.0.attn.qkv.weight')),
)
