"""SimMIM's ViT in BEiT's form (microsoft/SimMIM)."""

from collections.abc import Mapping

from torch import Tensor

from simmim_mm.interop.common import (
    UNKNOWN,
    VIT_BLOCK,
    block_rules,
    count,
    data_preprocessor,
    settle,
    shape,
    side,
)
from simmim_mm.interop.families import Family
from simmim_mm.interop.rules import Rule

_BLOCK = 'encoder.blocks.{i}', 'backbone.layers.{i}'
_INDEX = 'relative_position_index'
_RULES = (
    *(Rule(f'encoder.{n}', f'backbone.{n}') for n in ('mask_token', 'cls_token', 'pos_embed')),
    Rule('encoder.patch_embed.proj.{rest}', 'backbone.patch_embed.projection.{rest}'),
    Rule(f'encoder.rel_pos_bias.{_INDEX}', f'backbone.rel_pos_bias.{_INDEX}', regenerated=True),
    Rule(f'{_BLOCK[0]}.attn.{_INDEX}', f'{_BLOCK[1]}.attn.{_INDEX}', regenerated=True),
    Rule('encoder.rel_pos_bias.{rest}', 'backbone.rel_pos_bias.{rest}'),
    *(Rule(f'{_BLOCK[0]}.{n}', f'{_BLOCK[1]}.{n}') for n in ('gamma_1', 'gamma_2')),
    *block_rules(*_BLOCK, VIT_BLOCK),
    Rule('encoder.norm.{rest}', 'backbone.ln1.{rest}'),
    Rule('decoder.0.{rest}', 'neck.decoder.0.{rest}'),
)


def _model_config(config: dict) -> dict:
    enc = config['encoder']
    dims = enc['embed_dim']
    return dict(
        type='MaskedImageModel',
        data_preprocessor=data_preprocessor(enc['in_chans']),
        backbone=dict(
            type='MaskedBEiT',
            arch=dict(
                embed_dims=dims,
                num_layers=enc['depth'],
                num_heads=enc['num_heads'],
                feedforward_channels=int(dims * enc.get('mlp_ratio', 4.0)),
            ),
            img_size=enc['img_size'],
            patch_size=enc['patch_size'],
            in_channels=enc['in_chans'],
            drop_rate=enc.get('drop_rate', 0.0),
            drop_path_rate=enc.get('drop_path_rate', 0.0),
            bias='qv_bias' if enc.get('qkv_bias', True) else False,
            layer_scale_init_value=enc.get('init_values') or 0.0,
            use_abs_pos_emb=enc.get('use_abs_pos_emb', False),
            use_rel_pos_bias=enc.get('use_rel_pos_bias', False),
            use_shared_rel_pos_bias=enc.get('use_shared_rel_pos_bias', True),
            final_norm=not enc.get('use_mean_pooling', False),
        ),
        neck=dict(
            type='PixelShuffleDecoder',
            in_channels=dims,
            stride=config['encoder_stride'],
            out_channels=enc['in_chans'],
        ),
        head=dict(type='PixelHead', loss=dict(type='MaskedPixelLoss', criterion='l1')),
    )


def _infer_config(state: Mapping[str, Tensor], hints: dict) -> dict:
    dims, in_chans, patch, _ = shape(state, 'encoder.patch_embed.proj.weight')
    shared = 'encoder.rel_pos_bias.relative_position_bias_table'
    own = 'encoder.blocks.0.attn.relative_position_bias_table'
    table = state.get(shared, state.get(own))
    if table is not None:
        heads = table.shape[1]
        grid = (side(len(table) - 3, 'position biases') + 1) // 2
    else:
        heads = UNKNOWN
        grid = side(shape(state, 'encoder.pos_embed')[1] - 1, 'tokens')
    encoder = dict(
        img_size=grid * patch,
        patch_size=patch,
        in_chans=in_chans,
        embed_dim=dims,
        depth=count(state, r'encoder\.blocks\.(\d+)\.'),
        num_heads=heads,
        mlp_ratio=shape(state, 'encoder.blocks.0.mlp.fc1.weight')[0] / dims,
        qkv_bias='encoder.blocks.0.attn.q_bias' in state,
        drop_path_rate=0.0,
        init_values=0.1 if 'encoder.blocks.0.gamma_1' in state else None,
        use_abs_pos_emb='encoder.pos_embed' in state,
        use_rel_pos_bias=own in state,
        use_shared_rel_pos_bias=shared in state,
        use_mean_pooling='encoder.norm.weight' not in state,
    )
    return dict(encoder=settle(encoder, hints), encoder_stride=patch)


def _detect(state: Mapping[str, Tensor]) -> bool:
    return 'encoder.blocks.0.attn.qkv.weight' in state and 'encoder.mask_token' in state


FAMILY = Family(
    name='simmim_vit',
    title='SimMIM ViT (microsoft/SimMIM)',
    rules=_RULES,
    detect=_detect,
    model_config=_model_config,
    infer_config=_infer_config,
)
