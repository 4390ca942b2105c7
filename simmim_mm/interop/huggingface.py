"""transformers of HuggingFace, in the names of its published files.

Version 5 has other names in memory, but reads and writes these. Queries, keys and values are
separate there.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import Tensor

from simmim_mm.interop import mae, simmim_swin, simmim_vit, timm
from simmim_mm.interop.common import block_rules
from simmim_mm.interop.families import Family
from simmim_mm.interop.rules import Rule, apply_rules, undo_rules
from simmim_mm.interop.simmim_swin import from_unfold, to_unfold

_QKV = ('query', 'key', 'value')
_EMBEDDING = (
    Rule('embeddings.mask_token', 'backbone.mask_token'),
    Rule('embeddings.patch_embeddings.projection.{rest}', 'backbone.patch_embed.projection.{rest}'),
)
_DECODER = Rule('decoder.0.{rest}', 'neck.decoder.0.{rest}')
_MLP = (('intermediate.dense', 'ffn.layers.0.0'), ('output.dense', 'ffn.layers.1'))


def _qkv(theirs: str, ours: str, separate_bias: bool) -> tuple[Rule, ...]:
    """Rules of the projections; with ``separate_bias`` keys have none, as in BEiT and Swin v2."""
    theirs += '.{part}.'
    weight = Rule(f'{theirs}weight', f'{ours}.qkv.weight', parts=_QKV)
    if not separate_bias:
        return weight, Rule(f'{theirs}bias', f'{ours}.qkv.bias', parts=_QKV)
    query, value = (theirs.format(i='{i}', j='{j}', part=part) for part in ('query', 'value'))
    return (
        weight,
        Rule(f'{query}bias', f'{ours}.q_bias'),
        Rule(f'{value}bias', f'{ours}.v_bias'),
    )


def _plain(theirs: str, ours: str, separate_bias: bool = False) -> tuple[Rule, ...]:
    """Rules of a plain ViT's block."""
    names = (
        ('layernorm_before', 'ln1'),
        ('layernorm_after', 'ln2'),
        ('attention.output.dense', 'attn.proj'),
        *_MLP,
    )
    return (
        *_qkv(f'{theirs}.attention.attention', f'{ours}.attn', separate_bias),
        *block_rules(theirs, ours, names),
    )


def _swin(stage: str, permuted: Sequence[str], separate_bias: bool) -> tuple[Rule, ...]:
    """Rules of Swin; merging stands at the end of their stage i, and in ours at ``stage``."""
    theirs, ours = 'encoder.layers.{i}.blocks.{j}', 'backbone.stages.{i}.blocks.{j}'
    merging = 'encoder.layers.{i}.downsample.', f'backbone.{stage}.downsample.'
    names = (
        ('layernorm_before', 'norm1'),
        ('layernorm_after', 'norm2'),
        ('attention.output.dense', 'attn.w_msa.proj'),
        ('attention.self.continuous_position_bias_mlp', 'attn.w_msa.cpb_mlp'),
        *_MLP,
    )
    attention = f'{theirs}.attention.self', f'{ours}.attn.w_msa'
    return (
        *_EMBEDDING,
        Rule('embeddings.position_embeddings', 'backbone.absolute_pos_embed'),
        Rule('embeddings.norm.{rest}', 'backbone.patch_embed.norm.{rest}'),
        *_qkv(*attention, separate_bias),
        *(
            Rule(f'{attention[0]}.{name}', f'{attention[1]}.{name}')
            for name in ('relative_position_bias_table', 'logit_scale')
        ),
        *(
            Rule(f'{attention[0]}.{name}', regenerated=True)
            for name in ('relative_position_index', 'relative_coords_table')
        ),
        *block_rules(theirs, ours, names),
        *(Rule(merging[0] + n, merging[1] + n, to_unfold, from_unfold) for n in permuted),
        Rule(merging[0] + '{rest}', merging[1] + '{rest}'),
        Rule('layernorm.{rest}', 'backbone.norm3.{rest}'),
        _DECODER,
    )


_VIT_RULES = (
    *_EMBEDDING,
    Rule('embeddings.cls_token', 'backbone.cls_token'),
    Rule('embeddings.position_embeddings', 'backbone.pos_embed'),
    *_plain('encoder.layer.{i}', 'backbone.layers.{i}'),
    Rule('layernorm.{rest}', 'backbone.ln1.{rest}'),
)
_MAE_DECODER = (
    *(Rule(f'decoder.{n}', f'neck.{n}') for n in ('mask_token', 'decoder_pos_embed')),
    *(
        Rule(f'decoder.{n}.{{rest}}', f'neck.{n}.{{rest}}')
        for n in ('decoder_embed', 'decoder_pred')
    ),
    Rule('decoder.decoder_norm.{rest}', 'neck.ln1.{rest}'),
    *_plain('decoder.decoder_layers.{i}', 'neck.decoder_blocks.{i}'),
    # as version 5 writes it
    *(
        replace(rule, one_way=True)
        for rule in _plain('decoder.decoder_encoder.layer.{i}', 'neck.decoder_blocks.{i}')
    ),
)
_TABLE = 'relative_position_bias.relative_position_bias_table'
_BEIT_RULES = (
    *_VIT_RULES[: len(_EMBEDDING) + 2],
    Rule(
        'encoder.layer.{i}.attention.attention.' + _TABLE,
        'backbone.layers.{i}.attn.relative_position_bias_table',
    ),
    Rule('encoder.' + _TABLE, 'backbone.rel_pos_bias.relative_position_bias_table'),
    Rule('{rest}.relative_position_index', regenerated=True),
    *(Rule(f'encoder.layer.{{i}}.lambda_{n}', f'backbone.layers.{{i}}.gamma_{n}') for n in (1, 2)),
    *_plain('encoder.layer.{i}', 'backbone.layers.{i}', separate_bias=True),
    Rule('layernorm.{rest}', 'backbone.ln1.{rest}'),
)


def _infer(state: Mapping[str, Tensor], hints: dict, rules: Sequence[Rule], base: Family) -> dict:
    """By way of the authors' names, whose shapes ``base`` can read."""
    return base.infer_config(
        undo_rules(base.rules, apply_rules(rules, state, '').state_dict), hints
    )


def _family(
    name: str, title: str, prefix: str, rules: Sequence[Rule], base: Family, mark: str
) -> Family:
    return Family(
        name=f'hf_{name}',
        title=f'{title} of transformers',
        rules=tuple(rules),
        detect=lambda state: mark in state,
        model_config=base.model_config,
        infer_config=partial(_infer, rules=rules, base=base),
        prefix=prefix,
    )


_SWIN_RULES = _swin('stages.{i}', ('reduction.weight', 'norm.weight', 'norm.bias'), False)
_SWIN_V2_RULES = _swin('stages.{i+1}', ('reduction.weight',), True)
_MAE_RULES = (*_VIT_RULES, *_MAE_DECODER)
_SIMMIM_RULES = (*_VIT_RULES, _DECODER)
_ATTENTION = 'encoder.layers.0.blocks.0.attention.self'
_TABLE_0, _SCALE_0 = f'{_ATTENTION}.relative_position_bias_table', f'{_ATTENTION}.logit_scale'
_GAMMA_0 = 'encoder.layer.0.lambda_1'
_QUERY_0 = 'encoder.layer.0.attention.attention.query.weight'

FAMILIES = (
    _family('swin', 'Swin', 'swin.', _SWIN_RULES, simmim_swin.V1, _TABLE_0),
    _family('swinv2', 'Swin v2', 'swinv2.', _SWIN_V2_RULES, simmim_swin.V2, _SCALE_0),
    _family('beit', 'BEiT', 'beit.', _BEIT_RULES, simmim_vit.FAMILY, _GAMMA_0),
    _family('vit_mae', 'MAE', 'vit.', _MAE_RULES, mae.FAMILY, 'decoder.decoder_embed.weight'),
    _family('vit', 'ViT', 'vit.', _SIMMIM_RULES, timm.VIT, _QUERY_0),
)

_NAMES = dict(
    image_size='img_size',
    num_attention_heads='num_heads',
    decoder_num_attention_heads='decoder_num_heads',
    **{n: n for n in ('num_heads', 'window_size', 'pretrained_window_sizes', 'norm_pix_loss')},
)


def stored_arguments(checkpoint: Path) -> dict:
    """The authors' constructor arguments in a ``config.json`` beside the weights, if there is one.

    Both libraries publish models so: what the weights do not tell (heads, windows) stands there.
    """
    try:
        config = json.loads((checkpoint.parent / 'config.json').read_text(encoding='utf-8'))
    except (FileNotFoundError, ValueError):
        return {}
    if not isinstance(config, dict):
        return {}
    arguments = {ours: config[theirs] for theirs, ours in _NAMES.items() if theirs in config}
    timm_size = config.get('pretrained_cfg', {}).get('input_size')
    if timm_size:
        arguments['img_size'] = timm_size[-1]
    return {**arguments, **config.get('model_args', {})}
