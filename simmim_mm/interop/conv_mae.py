"""ConvMAE, alias MCMAE (Alpha-VL/ConvMAE). No other library has its encoder."""

import math
from collections.abc import Mapping

from torch import Tensor

from simmim_mm.interop.family import UNKNOWN, Family, count, having, shape, square_side
from simmim_mm.interop.keymap import Rule, block_rules
from simmim_mm.interop.mae import DECODER_RULES, decoder_arguments, mae_model
from simmim_mm.interop.vit import VIT_BLOCK, VIT_HEADS

_SAME = (
    'pos_embed',
    *(f'patch_embed{i}.{{rest}}' for i in (1, 2, 3, 4)),
    *(f'stage{i}_output_decode.{{rest}}' for i in (1, 2)),
    *(f'blocks{i}.{{rest}}' for i in (1, 2)),
    'norm.{rest}',
)


def _model_config(config: dict) -> dict:
    dims, ratios = list(config['embed_dim']), list(config.get('mlp_ratio', (4, 4, 4)))
    depths, strides = list(config['depth']), list(config['patch_size'])
    heads = config['num_heads']
    backbone = dict(
        type='MaskedConvViT',
        arch=dict(embed_dims=dims, depths=depths, num_heads=heads, mlp_ratios=ratios),
        img_size=config['img_size'][0],
        patch_sizes=strides,
        in_channels=config.get('in_chans', 3),
    )
    patch = math.prod(strides)
    return mae_model(config, backbone, dims[-1], patch, ratios[0], with_cls_token=False)


def _infer(weights: Mapping[str, Tensor], hints: dict) -> dict:
    patches = [shape(weights, f'backbone.patch_embed{i}.proj.weight') for i in (1, 2, 3)]
    strides = [p[2] for p in patches]
    dims = [p[0] for p in patches]
    tokens = shape(weights, 'backbone.pos_embed')[1]
    size = square_side(tokens, 'tokens') * math.prod(strides)
    first = ('blocks1.0.mlp.fc1', 'blocks2.0.mlp.fc1', 'blocks3.0.ffn.layers.0.0')
    hidden = [shape(weights, f'backbone.{name}.weight')[0] for name in first]
    return dict(
        img_size=[size, size // strides[0], size // (strides[0] * strides[1])],
        patch_size=strides,
        in_chans=patches[0][1],
        embed_dim=dims,
        depth=[count(weights, rf'backbone\.blocks{i}\.(\d+)\.') for i in (1, 2, 3)],
        num_heads=VIT_HEADS.get(dims[-1], UNKNOWN),
        mlp_ratio=[n / d for n, d in zip(hidden, dims)],
        **decoder_arguments(weights),
        norm_pix_loss=True,
    )


FAMILY = Family(
    'convmae',
    'ConvMAE (Alpha-VL/ConvMAE)',
    rules=(
        *(Rule(name, f'backbone.{name}') for name in _SAME),
        *block_rules('blocks3.{i}', 'backbone.blocks3.{i}', VIT_BLOCK),
        *DECODER_RULES,
    ),
    detect=having('pos_embed', 'patch_embed4.weight', 'blocks3.0.attn.qkv.weight'),
    model_config=_model_config,
    infer=_infer,
)
