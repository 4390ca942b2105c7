"""Plain ViT, pretrained with mask tokens: timm, transformers, mmpretrain, mmseg."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from simmim_mm.interop.export import (
    Export,
    ExportError,
    Source,
    image_size,
    plain_size,
    refuse_unknown,
    renamed,
    whole_ratio,
    without,
)
from simmim_mm.interop.family import (
    LINEAR_DECODER,
    OPENMMLAB_RULES,
    UNKNOWN,
    Family,
    complete_arguments,
    count,
    having,
    shape,
    simmim_model,
    square_side,
)
from simmim_mm.interop.keymap import Rule, block_rules, qkv_rules, undo_rules

# ---- names, also of MAE and BEiT ----
VIT_BLOCK = (
    ('norm1', 'ln1'),
    ('norm2', 'ln2'),
    ('attn', 'attn'),
    ('mlp.fc1', 'ffn.layers.0.0'),
    ('mlp.fc2', 'ffn.layers.1'),
)
# Heads by width, of the published models and the usual small ones: the weights do not tell.
VIT_HEADS = {192: 3, 384: 6, 512: 8, 768: 12, 1024: 16, 1280: 16}


def encoder_rules(prefix: str = '') -> tuple[Rule, ...]:
    """A plain encoder in the names that MAE, SimMIM and timm share."""
    return (
        *(Rule(f'{prefix}{n}', f'backbone.{n}') for n in ('cls_token', 'pos_embed')),
        Rule(f'{prefix}patch_embed.proj.{{rest}}', 'backbone.patch_embed.projection.{rest}'),
        *block_rules(f'{prefix}blocks.{{i}}', 'backbone.layers.{i}', VIT_BLOCK),
        Rule(f'{prefix}norm.{{rest}}', 'backbone.ln1.{rest}'),
    )


HF_MLP = (('intermediate.dense', 'ffn.layers.0.0'), ('output.dense', 'ffn.layers.1'))
HF_EMBEDDING = (
    Rule('embeddings.mask_token', 'backbone.mask_token'),
    Rule('embeddings.patch_embeddings.projection.{rest}', 'backbone.patch_embed.projection.{rest}'),
)


def hf_block_rules(source: str, native: str, separate_bias: bool = False) -> tuple[Rule, ...]:
    """A plain block of transformers, in the names of its published files.

    Version 5 has other names in memory, but reads and writes these.
    """
    names = (
        ('layernorm_before', 'ln1'),
        ('layernorm_after', 'ln2'),
        ('attention.output.dense', 'attn.proj'),
        *HF_MLP,
    )
    return (
        *qkv_rules(f'{source}.attention.attention', f'{native}.attn', separate_bias),
        *block_rules(source, native, names),
    )


def hf_encoder_rules(separate_bias: bool = False) -> tuple[Rule, ...]:
    """A plain encoder of transformers."""
    return (
        *HF_EMBEDDING,
        Rule('embeddings.cls_token', 'backbone.cls_token'),
        Rule('embeddings.position_embeddings', 'backbone.pos_embed'),
        *hf_block_rules('encoder.layer.{i}', 'backbone.layers.{i}', separate_bias),
        Rule('layernorm.{rest}', 'backbone.ln1.{rest}'),
    )


# ---- from other code ----
def vit_model(config: dict) -> dict:
    """SimMIM's model around a plain ViT, with mask tokens."""
    dims = config['embed_dim']
    backbone = dict(
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
    )
    return simmim_model(backbone, dims, config['patch_size'])


def plain_arguments(weights: Mapping[str, Tensor], grid: int | None = None) -> dict:
    """Constructor arguments that plain ViTs share, from the shapes of weights under our names.

    The side of the token grid is that of the position embedding, unless it is given.
    """
    dims, in_chans, patch, _ = shape(weights, 'backbone.patch_embed.projection.weight')
    if grid is None:
        grid = square_side(shape(weights, 'backbone.pos_embed')[1] - 1, 'tokens')
    hidden = shape(weights, 'backbone.layers.0.ffn.layers.0.0.weight')[0]
    return dict(
        img_size=grid * patch,
        patch_size=patch,
        in_chans=in_chans,
        embed_dim=dims,
        depth=count(weights, r'backbone\.layers\.(\d+)\.'),
        num_heads=VIT_HEADS.get(dims, UNKNOWN),
        mlp_ratio=hidden / dims,
    )


def infer_vit(weights: Mapping[str, Tensor], hints: dict) -> dict:
    """timm's constructor arguments of a plain ViT."""
    scaled = 'backbone.layers.0.attn.gamma1.weight' in weights
    config = dict(
        plain_arguments(weights),
        qkv_bias='backbone.layers.0.attn.qkv.bias' in weights,
        init_values=1e-5 if scaled else None,
    )
    return complete_arguments(config, hints)


def _has_labels(state: Mapping[str, Tensor]) -> bool:
    # of the same names as MAE's encoder: what labels were learned with tells them apart
    labels = ('head.weight', 'head.bias', 'fc_norm.weight', 'blocks.0.ls1.gamma')
    return PLAIN(state) and any(name in state for name in labels)


def _has_classifier(state: Mapping[str, Tensor]) -> bool:
    # MAE's encoder has the same names
    return OPENMMLAB_PLAIN(state) and any(key.startswith('head.') for key in state)


PLAIN = having('cls_token', 'pos_embed', 'blocks.0.attn.qkv.weight', 'patch_embed.proj.weight')
OPENMMLAB_PLAIN = having('backbone.pos_embed', 'backbone.layers.0.attn.qkv.weight')
_MODEL = dict(model_config=vit_model, infer=infer_vit)
TIMM = Family(
    'timm_vit',
    'ViT of timm, for mask tokens (MAE of timm: mae)',
    rules=(
        Rule('blocks.{i}.ls1.gamma', 'backbone.layers.{i}.attn.gamma1.weight'),
        Rule('blocks.{i}.ls2.gamma', 'backbone.layers.{i}.ffn.gamma2.weight'),
        *encoder_rules(),
    ),
    detect=_has_labels,
    **_MODEL,
)
HUGGINGFACE = Family(
    'hf_vit',
    'ViT of transformers',
    rules=(*hf_encoder_rules(), LINEAR_DECODER),
    detect=having('encoder.layer.0.attention.attention.query.weight'),
    prefix='vit.',
    **_MODEL,
)
OPENMMLAB = Family(
    'openmmlab_vit',
    'ViT of mmpretrain and mmselfsup',
    rules=OPENMMLAB_RULES,
    detect=_has_classifier,
    **_MODEL,
)

# ---- to other libraries; helpers also of BEiT ----
OUTPUTS = (
    "out_type='featmap' is what was compared; a classifier takes out_type='cls_token' or "
    "'avg_featmap', whose norm ln2 starts fresh."
)
NO_CLASSIFIER = (
    'This model has no classifier. For one, give num_classes, leave checkpoint_path out, and call '
    'model.load_state_dict(timm.models.load_state_dict(FILE), strict=False): head.* starts fresh.'
)
_POOLER = 'a layer on top of the class token, which pretraining does not train'
_MMSEG_RULES = (
    Rule('layers.{i}.attn.attn.in_proj_{rest}', 'layers.{i}.attn.qkv.{rest}'),
    Rule('layers.{i}.attn.attn.out_proj.{rest}', 'layers.{i}.attn.proj.{rest}'),
    Rule('{rest}', '{rest}'),
)


def vit_to_mmpretrain(source: Source) -> Export:
    """As it is."""
    return mmpretrain_export(source, 'VisionTransformer', source.build())


def vit_to_mmseg(source: Source) -> Export:
    """Attention is ``nn.MultiheadAttention`` there; a class token always exists."""
    refuse_unknown(source, 'mmseg')
    if not source.config.get('qkv_bias', True):
        raise ExportError(
            "mmseg's ViT without qkv_bias has no bias after the attention either: use our backbone"
        )
    vit = source.build(out_indices=four_blocks(source))
    state = undo_rules(_MMSEG_RULES, without(vit.state_dict(), ['mask_token']))
    if vit.cls_token is None:  # mmseg adds a position to it, then removes it
        state['cls_token'] = torch.zeros(1, 1, vit.embed_dims)
        state['pos_embed'] = torch.cat((state['cls_token'], state['pos_embed']), dim=1)
    arguments = dict(
        mmseg_arguments(vit),
        with_cls_token=vit.cls_token is not None,
        patch_bias=True,
        final_norm=vit.final_norm,
    )
    return Export('mmseg', 'VisionTransformer', arguments, state, vit)


def vit_to_timm(source: Source) -> Export:
    """With or without class token."""
    refuse_unknown(source, 'timm')
    vit = source.build(out_indices=[-1])
    token = vit.cls_token is not None
    arguments = dict(
        timm_arguments(vit),
        qkv_bias=vit.layers[0].attn.qkv.bias is not None,
        class_token=token,
        global_pool='token' if token else 'avg',
        final_norm=vit.final_norm,
        fc_norm=False,
    )
    name, state = 'vit_base_patch16_224', renamed(vit, TIMM)
    return Export('timm', name, arguments, state, vit, notes=[NO_CLASSIFIER])


def vit_to_huggingface(source: Source) -> Export:
    """With a class token."""
    refuse_unknown(source, 'transformers')
    vit = source.build(out_indices=[-1])
    if vit.cls_token is None:
        raise ExportError("transformers' ViT has a class token: use our backbone, mmseg or timm")
    arguments = dict(
        hf_arguments(vit), model_type='vit', qkv_bias=vit.layers[0].attn.qkv.bias is not None
    )
    state, fresh = renamed(vit, HUGGINGFACE), {'pooler.*': _POOLER}
    return Export('huggingface', 'ViTModel', arguments, state, vit, fresh=fresh)


def mmpretrain_export(source: Source, architecture: str, vit: Any, **changes: Any) -> Export:
    """To mmpretrain, whose names and arguments are ours."""
    size = plain_size(image_size(vit))
    arguments = {**source.config, **changes, 'out_type': vit.out_type, 'img_size': size}
    state = without(vit.state_dict(), ['mask_token'])
    return Export('mmpretrain', architecture, arguments, state, vit, notes=[OUTPUTS])


def four_blocks(source: Source) -> list[int]:
    """Four blocks at equal distances, the last among them, as mmseg's configs; all of a few."""
    depth = count(source.state_dict, r'layers\.(\d+)\.')
    return sorted({depth * (i + 1) // 4 - 1 for i in range(4)} - {-1})


def mmseg_arguments(vit: Any) -> dict[str, Any]:
    """Arguments that mmseg's ViT and BEiT share."""
    layer = vit.layers[0]
    return dict(
        img_size=plain_size(image_size(vit)),
        patch_size=vit.token_stride,
        in_channels=vit.patch_embed.projection.in_channels,
        embed_dims=vit.embed_dims,
        num_layers=len(vit.layers),
        num_heads=layer.attn.num_heads,
        mlp_ratio=whole_ratio(layer.ffn.layers[1].in_features, vit.embed_dims, 'mmseg'),
        out_indices=list(vit.out_indices),
        norm_cfg=dict(type='LN', eps=layer.ln1.eps),
    )


def timm_arguments(vit: Any) -> dict[str, Any]:
    """Arguments that timm's ViT and BEiT share."""
    layer = vit.layers[0]
    return dict(
        img_size=plain_size(image_size(vit)),
        patch_size=vit.token_stride,
        in_chans=vit.patch_embed.projection.in_channels,
        num_classes=0,
        embed_dim=vit.embed_dims,
        depth=len(vit.layers),
        num_heads=layer.attn.num_heads,
        mlp_ratio=layer.ffn.layers[1].in_features / vit.embed_dims,
    )


def hf_arguments(vit: Any) -> dict[str, Any]:
    """Arguments that the ViT and the BEiT of transformers share.

    Raises:
        ExportError: If the last block has no norm, which these have.
    """
    if not vit.final_norm:
        raise ExportError(
            'transformers normalizes the tokens of the last block, and this backbone does not: use '
            'our backbone, or export to mmpretrain or mmseg'
        )
    layer = vit.layers[0]
    return dict(
        image_size=list(image_size(vit)),
        patch_size=vit.token_stride,
        num_channels=vit.patch_embed.projection.in_channels,
        hidden_size=vit.embed_dims,
        num_hidden_layers=len(vit.layers),
        num_attention_heads=layer.attn.num_heads,
        intermediate_size=layer.ffn.layers[1].in_features,
        layer_norm_eps=layer.ln1.eps,
    )
