"""ConvMAE, alias MCMAE (Alpha-VL/ConvMAE)."""

import math
from collections.abc import Mapping

from torch import Tensor

from simmim_mm.interop.common import (
    UNKNOWN,
    VIT_BLOCK,
    VIT_HEADS,
    block_rules,
    count,
    settle,
    shape,
    side,
)
from simmim_mm.interop.families import Family
from simmim_mm.interop.mae import DECODER_RULES, decoder_arguments, mae_model
from simmim_mm.interop.rules import Rule

_SAME = (
    'pos_embed',
    *(f'patch_embed{i}.{{rest}}' for i in (1, 2, 3, 4)),
    *(f'stage{i}_output_decode.{{rest}}' for i in (1, 2)),
    *(f'blocks{i}.{{rest}}' for i in (1, 2)),
    'norm.{rest}',
)
_RULES = (
    *(Rule(name, f'backbone.{name}') for name in _SAME),
    *block_rules('blocks3.{i}', 'backbone.blocks3.{i}', VIT_BLOCK),
)


def _model_config(config: dict) -> dict:
    dims, ratios = list(config['embed_dim']), list(config.get('mlp_ratio', (4, 4, 4)))
    strides, size = list(config['patch_size']), config['img_size'][0]
    in_chans = config.get('in_chans', 3)
    backbone = dict(
        type='MaskedConvViT',
        arch=dict(
            embed_dims=dims,
            depths=list(config['depth']),
            num_heads=config['num_heads'],
            mlp_ratios=ratios,
        ),
        img_size=size,
        patch_sizes=strides,
        in_channels=in_chans,
    )
    return mae_model(
        dict(
            config,
            img_size=size,
            in_chans=in_chans,
            width=dims[-1],
            decoder_mlp_ratio=ratios[0],
            token_stride=math.prod(strides),
        ),
        backbone,
        with_cls_token=False,
    )


def _infer_config(state: Mapping[str, Tensor], hints: dict) -> dict:
    patches = [shape(state, f'patch_embed{i}.proj.weight') for i in (1, 2, 3)]
    strides = [p[2] for p in patches]
    dims = [p[0] for p in patches]
    size = side(shape(state, 'pos_embed')[1], 'tokens') * math.prod(strides)
    hidden = [shape(state, f'blocks{i}.0.mlp.fc1.weight')[0] for i in (1, 2, 3)]
    config = dict(
        img_size=[size, size // strides[0], size // (strides[0] * strides[1])],
        patch_size=strides,
        in_chans=patches[0][1],
        embed_dim=dims,
        depth=[count(state, rf'blocks{i}\.(\d+)\.') for i in (1, 2, 3)],
        num_heads=VIT_HEADS.get(dims[-1], UNKNOWN),
        mlp_ratio=[n / d for n, d in zip(hidden, dims)],
        **decoder_arguments(state),
        norm_pix_loss=True,
    )
    return settle(config, hints)


FAMILY = Family(
    name='convmae',
    title='ConvMAE (Alpha-VL/ConvMAE)',
    rules=(*_RULES, *DECODER_RULES),
    detect=lambda state: (
        {'pos_embed', 'patch_embed4.weight', 'blocks3.0.attn.qkv.weight'} <= set(state)
    ),
    model_config=_model_config,
    infer_config=_infer_config,
)
