"""BEiT, the ViT that SimMIM pretrains: SimMIM, timm, transformers, mmpretrain, mmseg."""

from collections.abc import Mapping

import torch
from torch import Tensor

from simmim_mm.interop.export import Export, ExportError, Source, refuse_unknown, renamed, without
from simmim_mm.interop.family import (
    LINEAR_DECODER,
    OPENMMLAB_RULES,
    UNKNOWN,
    Family,
    complete_arguments,
    having,
    simmim_model,
    square_side,
)
from simmim_mm.interop.keymap import Rule, not_written
from simmim_mm.interop.vit import (
    NO_CLASSIFIER,
    encoder_rules,
    four_blocks,
    hf_arguments,
    hf_encoder_rules,
    mmpretrain_export,
    mmseg_arguments,
    plain_arguments,
    timm_arguments,
)

# ---- names ----
_TABLE, _INDEX = 'relative_position_bias_table', 'relative_position_index'
_SHARED, _OWN = f'backbone.rel_pos_bias.{_TABLE}', f'backbone.layers.{{i}}.attn.{_TABLE}'


def _rules(prefix: str) -> tuple[Rule, ...]:
    block = f'{prefix}blocks.{{i}}'
    names = ('rel_pos_bias.', 'blocks.{i}.attn.'), ('rel_pos_bias.', 'layers.{i}.attn.')
    return (
        *(
            Rule(f'{prefix}{a}{_INDEX}', f'backbone.{b}{_INDEX}', regenerated=True)
            for a, b in zip(*names)
        ),
        Rule(f'{prefix}rel_pos_bias.{{rest}}', 'backbone.rel_pos_bias.{rest}'),
        *(Rule(f'{block}.gamma_{n}', f'backbone.layers.{{i}}.gamma_{n}') for n in (1, 2)),
        *encoder_rules(prefix),
    )


_HF_RULES = (
    Rule(f'encoder.layer.{{i}}.attention.attention.relative_position_bias.{_TABLE}', _OWN),
    Rule(f'encoder.relative_position_bias.{_TABLE}', _SHARED),
    Rule(f'{{rest}}.{_INDEX}', regenerated=True),
    *(Rule(f'encoder.layer.{{i}}.lambda_{n}', f'backbone.layers.{{i}}.gamma_{n}') for n in (1, 2)),
    *hf_encoder_rules(separate_bias=True),
)


# ---- from other code ----
def _model_config(config: dict) -> dict:
    enc = config['encoder']
    dims = enc['embed_dim']
    backbone = dict(
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
    )
    return simmim_model(backbone, dims, config['encoder_stride'])


def _infer(weights: Mapping[str, Tensor], hints: dict) -> dict:
    own = _OWN.format(i=0)
    table = weights.get(_SHARED, weights.get(own))
    if table is None:
        known = dict(plain_arguments(weights), num_heads=UNKNOWN)
    else:
        rows, heads = table.shape
        grid = (square_side(rows - 3, 'position biases') + 1) // 2
        known = dict(plain_arguments(weights, grid), num_heads=heads)
    encoder = dict(
        known,
        qkv_bias='backbone.layers.0.attn.q_bias' in weights,
        drop_path_rate=0.0,
        init_values=0.1 if 'backbone.layers.0.gamma_1' in weights else None,
        use_abs_pos_emb='backbone.pos_embed' in weights,
        use_rel_pos_bias=own in weights,
        use_shared_rel_pos_bias=_SHARED in weights,
        use_mean_pooling='backbone.ln1.weight' not in weights,
    )
    stride = encoder['patch_size']
    return dict(encoder=complete_arguments(encoder, hints), encoder_stride=stride)


_MODEL = dict(model_config=_model_config, infer=_infer)
SIMMIM = Family(
    'simmim_vit',
    'SimMIM ViT (microsoft/SimMIM)',
    rules=(
        Rule('encoder.mask_token', 'backbone.mask_token'),
        *_rules('encoder.'),
        LINEAR_DECODER,
    ),
    detect=having('encoder.blocks.0.attn.qkv.weight', 'encoder.mask_token'),
    **_MODEL,
)
TIMM = Family(
    'timm_beit',
    'BEiT of timm, and of microsoft/unilm',
    rules=not_written(_rules('')),
    detect=having('patch_embed.proj.weight', 'blocks.0.attn.q_bias'),
    **_MODEL,
)
HUGGINGFACE = Family(
    'hf_beit',
    'BEiT of transformers',
    rules=_HF_RULES,
    detect=having('encoder.layer.0.lambda_1'),
    prefix='beit.',
    **_MODEL,
)
OPENMMLAB = Family(
    'openmmlab_beit',
    'BEiT of mmpretrain and mmselfsup',
    rules=OPENMMLAB_RULES,
    detect=having('backbone.layers.0.attn.q_bias'),
    **_MODEL,
)


# ---- to other libraries, with a table of biases in each block, as the authors fine-tune ----
def beit_to_mmpretrain(source: Source) -> Export:
    """As it is."""
    tables = own_tables(source)
    vit = source.build(**tables)
    return mmpretrain_export(source, 'BEiTViT', vit, **tables, final_norm=vit.final_norm)


def beit_to_mmseg(source: Source) -> Export:
    """Layer scale is there in any case."""
    refuse_unknown(source, 'mmseg')
    tables = own_tables(source)
    vit = source.build(**tables, out_indices=four_blocks(source))
    if vit.pos_embed is not None or not tables['use_rel_pos_bias']:
        raise ExportError(
            "mmseg's BEiT has relative position biases only, this backbone another position "
            'embedding: use our backbone in the config'
        )
    qv_bias = _qv_bias(vit, 'mmseg')
    if vit.patch_resolution[0] != vit.patch_resolution[1]:
        raise ExportError(
            "mmseg's BEiT loads weights for square images only: give a square --img-size, or use "
            'our backbone in the config'
        )
    state = without(vit.state_dict(), ['mask_token', _INDEX])
    notes = []
    scaled = vit.layers[0].gamma_1 is not None
    if not scaled:
        for i in range(len(vit.layers)):
            state.update({f'layers.{i}.gamma_{j}': torch.ones(vit.embed_dims) for j in (1, 2)})
        notes.append("mmseg's BEiT always has layer scale: it starts at 1, which changes nothing.")
    arguments = dict(
        mmseg_arguments(vit),
        qv_bias=qv_bias,
        final_norm=vit.final_norm,
        init_values=0.1 if scaled else 1.0,
    )
    return Export('mmseg', 'BEiT', arguments, state, vit, notes=notes)


def beit_to_timm(source: Source) -> Export:
    """The last block has a norm there."""
    refuse_unknown(source, 'timm')
    tables = own_tables(source)
    vit = source.build(**tables, out_indices=[-1])
    if not vit.final_norm:
        raise ExportError(
            "timm's BEiT normalizes either all tokens or their mean, and this backbone has no norm "
            'of the last block: use our backbone, or export to mmpretrain or mmseg'
        )
    arguments = dict(
        timm_arguments(vit),
        qkv_bias=_qv_bias(vit, 'timm'),
        init_values=0.0 if vit.layers[0].gamma_1 is None else 0.1,
        use_abs_pos_emb=vit.pos_embed is not None,
        use_rel_pos_bias=tables['use_rel_pos_bias'],
        use_shared_rel_pos_bias=False,
        use_fc_norm=False,
    )
    name, state = 'beit_base_patch16_224', renamed(vit, TIMM)
    return Export('timm', name, arguments, state, vit, notes=[NO_CLASSIFIER])


def beit_to_huggingface(source: Source) -> Export:
    """The last block has a norm there."""
    refuse_unknown(source, 'transformers')
    tables = own_tables(source)
    vit = source.build(**tables, out_indices=[-1])
    known = hf_arguments(vit)
    layer = vit.layers[0]
    if layer.attn.qkv.bias is not None or getattr(layer.attn, 'q_bias', None) is None:
        raise ExportError(
            "transformers' BEiT has biases of queries and values, no more and no less: use our "
            'backbone'
        )
    arguments = dict(
        known,
        model_type='beit',
        use_absolute_position_embeddings=vit.pos_embed is not None,
        use_relative_position_bias=tables['use_rel_pos_bias'],
        use_shared_relative_position_bias=False,
        layer_scale_init_value=0.0 if layer.gamma_1 is None else 0.1,
        use_mean_pooling=False,  # its model normalizes the tokens, or their mean
    )
    return Export('huggingface', 'BeitModel', arguments, renamed(vit, HUGGINGFACE), vit)


def own_tables(source: Source) -> dict[str, bool]:
    """Arguments of a BEiT that give each block the table which pretraining shares."""
    config = source.config
    biased = config.get('use_rel_pos_bias', False) or config.get('use_shared_rel_pos_bias', True)
    return dict(use_rel_pos_bias=biased, use_shared_rel_pos_bias=False)


def _qv_bias(vit, library: str) -> bool:
    """Whether queries and values have biases; other forms are refused."""
    attn = vit.layers[0].attn
    if attn.qkv.bias is not None:
        raise ExportError(
            f"{library}'s BEiT has biases of queries and values only: use our backbone"
        )
    return getattr(attn, 'q_bias', None) is not None
