"""BEiT, the ViT that SimMIM pretrains: SimMIM, timm, transformers, mmpretrain, mmseg."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from simmim_mm.interop import export, family, vit
from simmim_mm.interop.export import Export, ExportError, Source
from simmim_mm.interop.family import Family, having
from simmim_mm.interop.keymap import Rule, not_written

# ---- names ----
_TABLE, _INDEX = 'relative_position_bias_table', 'relative_position_index'
_SHARED, _OWN = f'backbone.rel_pos_bias.{_TABLE}', f'backbone.layers.{{i}}.attn.{_TABLE}'


def _scale_rules(source: str) -> tuple[Rule, ...]:
    return tuple(Rule(f'{source}_{n}', f'backbone.layers.{{i}}.gamma_{n}') for n in (1, 2))


def _rules(prefix: str) -> tuple[Rule, ...]:
    tables = (('rel_pos_bias', 'rel_pos_bias'), ('blocks.{i}.attn', 'layers.{i}.attn'))
    return (
        *(
            Rule(f'{prefix}{a}.{_INDEX}', f'backbone.{b}.{_INDEX}', regenerated=True)
            for a, b in tables
        ),
        Rule(f'{prefix}rel_pos_bias.{{rest}}', 'backbone.rel_pos_bias.{rest}'),
        *_scale_rules(f'{prefix}blocks.{{i}}.gamma'),
        *vit.encoder_rules(prefix),
    )


_HF_RULES = (
    Rule(f'encoder.layer.{{i}}.attention.attention.relative_position_bias.{_TABLE}', _OWN),
    Rule(f'encoder.relative_position_bias.{_TABLE}', _SHARED),
    Rule(f'{{rest}}.{_INDEX}', regenerated=True),
    *_scale_rules('encoder.layer.{i}.lambda'),
    *vit.hf_encoder_rules(separate_bias=True),
)


# ---- from other code ----
def _model_config(config: dict) -> dict:
    enc = config['encoder']
    backbone = vit.vit_backbone(
        'MaskedBEiT',
        enc,
        drop_rate=enc.get('drop_rate', 0.0),
        drop_path_rate=enc.get('drop_path_rate', 0.0),
        bias='qv_bias' if enc.get('qkv_bias', True) else False,
        layer_scale_init_value=enc.get('init_values') or 0.0,
        use_abs_pos_emb=enc.get('use_abs_pos_emb', False),
        use_rel_pos_bias=enc.get('use_rel_pos_bias', False),
        use_shared_rel_pos_bias=enc.get('use_shared_rel_pos_bias', True),
        final_norm=not enc.get('use_mean_pooling', False),
    )
    return family.simmim_model(backbone, enc['embed_dim'], config['encoder_stride'])


def _infer(weights: Mapping[str, Tensor], hints: dict) -> dict:
    own = _OWN.format(i=0)
    table = weights.get(_SHARED, weights.get(own))
    grid, heads = None, family.UNKNOWN
    if table is not None:
        heads = table.shape[1]
        grid = (family.square_side(len(table) - 3, 'position biases') + 1) // 2
    encoder = dict(
        vit.plain_arguments(weights, grid),
        num_heads=heads,
        qkv_bias='backbone.layers.0.attn.q_bias' in weights,
        drop_path_rate=0.0,
        init_values=0.1 if 'backbone.layers.0.gamma_1' in weights else None,
        use_abs_pos_emb='backbone.pos_embed' in weights,
        use_rel_pos_bias=own in weights,
        use_shared_rel_pos_bias=_SHARED in weights,
        use_mean_pooling='backbone.ln1.weight' not in weights,
    )
    return dict(encoder=encoder, encoder_stride=encoder['patch_size'])


_family = partial(Family, model_config=_model_config, infer=_infer)
SIMMIM = _family(
    'simmim_vit',
    'SimMIM ViT (microsoft/SimMIM)',
    rules=(family.MASK_TOKEN, *_rules(family.ENCODER), family.LINEAR_DECODER),
    detect=having('encoder.blocks.0.attn.qkv.weight', 'encoder.mask_token'),
)
TIMM = _family(
    'timm_beit',
    'BEiT of timm, and of microsoft/unilm',
    rules=not_written(_rules('')),
    detect=having('patch_embed.proj.weight', 'blocks.0.attn.q_bias'),
)
HUGGINGFACE = _family(
    'hf_beit',
    'BEiT of transformers',
    rules=_HF_RULES,
    detect=having('encoder.layer.0.lambda_1'),
    prefix='beit.',
)
OPENMMLAB = _family(
    'openmmlab_beit',
    'BEiT of mmpretrain and mmselfsup',
    rules=family.OPENMMLAB_RULES,
    detect=having('backbone.layers.0.attn.q_bias'),
)


# ---- to other libraries, with a table of biases in each block, as the authors fine-tune ----
def own_tables(source: Source) -> dict[str, bool]:
    """Arguments of a BEiT that give each block the table which pretraining shares."""
    config = source.config
    biased = config.get('use_rel_pos_bias', False) or config.get('use_shared_rel_pos_bias', True)
    return dict(use_rel_pos_bias=biased, use_shared_rel_pos_bias=False)


def beit_to_mmpretrain(source: Source) -> Export:
    """As it is."""
    tables = own_tables(source)
    beit = source.build(**tables)
    return vit.mmpretrain_export(source, 'BEiTViT', beit, **tables, final_norm=beit.final_norm)


def beit_to_mmseg(source: Source) -> Export:
    """Layer scale is there in any case."""
    beit, biased = _build(source, 'mmseg', out_indices=vit.four_blocks(source))
    if beit.pos_embed is not None or not biased:
        raise ExportError(
            "mmseg's BEiT has relative position biases only, this backbone another position "
            'embedding: use our backbone in the config'
        )
    qv_bias = _qv_bias(beit, 'mmseg')
    if beit.patch_resolution[0] != beit.patch_resolution[1]:
        raise ExportError(
            "mmseg's BEiT loads weights for square images only: give a square --img-size, or use "
            'our backbone in the config'
        )
    options = dict(qv_bias=qv_bias, final_norm=beit.final_norm, init_values=0.1)
    arguments = {**vit.mmseg_arguments(beit), **options}
    state, notes = export.without(beit.state_dict(), ['mask_token', _INDEX]), []
    if beit.layers[0].gamma_1 is None:
        arguments['init_values'] = 1.0
        names = [f'layers.{i}.gamma_{j}' for i in range(len(beit.layers)) for j in (1, 2)]
        state.update({name: torch.ones(beit.embed_dims) for name in names})
        notes.append("mmseg's BEiT always has layer scale: it starts at 1, which changes nothing.")
    return Export('mmseg', 'BEiT', arguments, state, beit, notes=notes)


def beit_to_timm(source: Source) -> Export:
    """The last block has a norm there."""
    beit, biased = _build(source, 'timm', out_indices=[-1])
    if not beit.final_norm:
        raise ExportError(
            "timm's BEiT normalizes either all tokens or their mean, and this backbone has no norm "
            'of the last block: use our backbone, or export to mmpretrain or mmseg'
        )
    arguments = dict(
        vit.timm_arguments(beit),
        qkv_bias=_qv_bias(beit, 'timm'),
        init_values=0.0 if beit.layers[0].gamma_1 is None else 0.1,
        use_abs_pos_emb=beit.pos_embed is not None,
        use_rel_pos_bias=biased,
        use_shared_rel_pos_bias=False,
        use_fc_norm=False,
    )
    name, state = 'beit_base_patch16_224', export.renamed(beit, TIMM)
    return Export('timm', name, arguments, state, beit, notes=[vit.NO_CLASSIFIER])


def beit_to_huggingface(source: Source) -> Export:
    """The last block has a norm there."""
    beit, biased = _build(source, 'transformers', out_indices=[-1])
    known, layer = vit.hf_arguments(beit), beit.layers[0]
    if layer.attn.qkv.bias is not None or getattr(layer.attn, 'q_bias', None) is None:
        raise ExportError(
            "transformers' BEiT has biases of queries and values, no more and no less: use our "
            'backbone'
        )
    arguments = dict(
        known,
        model_type='beit',
        use_absolute_position_embeddings=beit.pos_embed is not None,
        use_relative_position_bias=biased,
        use_shared_relative_position_bias=False,
        layer_scale_init_value=0.0 if layer.gamma_1 is None else 0.1,
        use_mean_pooling=False,  # its model normalizes the tokens, or their mean
    )
    state = export.renamed(beit, HUGGINGFACE)
    return Export('huggingface', 'BeitModel', arguments, state, beit)


def _build(source: Source, library: str, **changes: Any) -> tuple[Any, bool]:
    """The backbone, and whether it has tables of biases."""
    tables = own_tables(source)
    return source.build_for(library, **tables, **changes), tables['use_rel_pos_bias']


def _qv_bias(beit: Any, library: str) -> bool:
    """Whether queries and values have biases; other forms are refused."""
    attn = beit.layers[0].attn
    if attn.qkv.bias is not None:
        raise ExportError(f"{library}'s BEiT has biases of queries and values only: use ours")
    return getattr(attn, 'q_bias', None) is not None
