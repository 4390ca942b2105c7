"""mmpretrain and mmselfsup (SimMIM, MAE, PixMIM), whose names are ours."""

from collections.abc import Mapping

from torch import Tensor

from . import mae, simmim_swin
from .families import Family
from .rules import Rule, undo_rules

_ARRANGED = (
    Rule('data_preprocessor.{rest}', 'data_preprocessor.{rest}', regenerated=True),
    Rule(
        'backbone.{rest}.relative_position_index',
        'backbone.{rest}.relative_position_index',
        regenerated=True,
    ),
    Rule('backbone.{rest}', 'backbone.{rest}'),
    Rule('neck.{rest}', 'neck.{rest}'),
)


def _infer_swin(state: Mapping[str, Tensor], hints: dict) -> dict:
    config = simmim_swin.V1.infer_config(undo_rules(simmim_swin.V1.rules, state), hints)
    encoder = config['encoder']
    if 'img_size' not in hints:  # no attention masks are stored: the map of the last stage decides
        last = len(encoder['depths']) - 1
        table = state[f'backbone.stages.{last}.blocks.0.attn.w_msa.relative_position_bias_table']
        clamped = (int(len(table) ** 0.5) + 1) // 2
        # windows that are not clamped leave several sizes: mmpretrain pretrains at 192
        size = clamped * config['encoder_stride']
        encoder['img_size'] = size if clamped < encoder['window_size'] else 192
    return config


SWIN = Family(
    name='openmmlab_simmim',
    title='SimMIM of mmpretrain and mmselfsup',
    rules=_ARRANGED,
    detect=lambda state: (
        'backbone.mask_token' in state and any(k.startswith('backbone.stages.0.') for k in state)
    ),
    model_config=simmim_swin.V1.model_config,
    infer_config=_infer_swin,
)
MAE = Family(
    name='openmmlab_mae',
    title='MAE and PixMIM of mmpretrain and mmselfsup',
    rules=_ARRANGED,
    detect=lambda state: (
        'backbone.pos_embed' in state and 'backbone.layers.0.attn.qkv.weight' in state
    ),
    model_config=mae.FAMILY.model_config,
    infer_config=lambda state, hints: mae.FAMILY.infer_config(
        undo_rules(mae.FAMILY.rules, state), hints
    ),
)
