"""Plain ViT, pretrained with mask tokens, and what MAE and BEiT share with it."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from simmim_mm.interop import export, family
from simmim_mm.interop.export import Export, ExportError, Source
from simmim_mm.interop.family import Family, count, having, shape
from simmim_mm.interop.keymap import Rule, block_rules, qkv_rules, undo_rules

# ---- names ----
MLP = (('mlp.fc1', 'ffn.layers.0.0'), ('mlp.fc2', 'ffn.layers.1'))
VIT_BLOCK = (('norm1', 'ln1'), ('norm2', 'ln2'), ('attn', 'attn'), *MLP)
HF_MLP = (('intermediate.dense', 'ffn.layers.0.0'), ('output.dense', 'ffn.layers.1'))
_DINOV2_BLOCK = (('norm1', 'ln1'), ('norm2', 'ln2'), *MLP)
HF_EMBEDDING = (
    Rule('embeddings.mask_token', 'backbone.mask_token'),
    Rule('embeddings.patch_embeddings.projection.{rest}', 'backbone.patch_embed.projection.{rest}'),
)


def encoder_rules(prefix: str = '') -> tuple[Rule, ...]:
    """A plain encoder in the names that MAE, SimMIM and timm share."""
    return (
        *(Rule(f'{prefix}{n}', f'backbone.{n}') for n in ('cls_token', 'pos_embed')),
        Rule(f'{prefix}patch_embed.proj.{{rest}}', 'backbone.patch_embed.projection.{rest}'),
        *block_rules(f'{prefix}blocks.{{i}}', 'backbone.layers.{i}', VIT_BLOCK),
        Rule(f'{prefix}norm.{{rest}}', 'backbone.ln1.{rest}'),
    )


def hf_block_rules(source: str, native: str, separate_bias: bool = False) -> tuple[Rule, ...]:
    """A plain block of transformers; version 5 reads and writes these names, too."""
    norms = (('layernorm_before', 'ln1'), ('layernorm_after', 'ln2'))
    names = (*norms, ('attention.output.dense', 'attn.proj'), *HF_MLP)
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
# Heads by width, of the published models and the usual small ones: the weights do not tell.
VIT_HEADS = {192: 3, 384: 6, 512: 8, 768: 12, 1024: 16, 1280: 16}


def vit_backbone(kind: str, config: dict, **options: Any) -> dict:
    """Config of our ViT of a ``kind`` from arguments that all authors give the same name."""
    dims = config['embed_dim']
    return dict(
        type=kind,
        arch=dict(
            embed_dims=dims,
            num_layers=config['depth'],
            num_heads=config['num_heads'],
            feedforward_channels=int(dims * config.get('mlp_ratio', 4.0)),
        ),
        img_size=config['img_size'],
        patch_size=config['patch_size'],
        in_channels=config.get('in_chans', 3),
        **options,
    )


def vit_model(config: dict) -> dict:
    """SimMIM's model around a plain ViT, with mask tokens."""
    options = dict(qkv_bias=config['qkv_bias'], layer_scale_init_value=config['init_values'] or 0.0)
    backbone = vit_backbone('MaskedViT', config, mask_mode='token', **options)
    return family.simmim_model(backbone, config['embed_dim'], config['patch_size'])


def plain_arguments(weights: Mapping[str, Tensor], grid: int | None = None) -> dict:
    """Constructor arguments that ViTs share; ``grid``: its side, else from the embedding."""
    dims, in_chans, patch, _ = shape(weights, 'backbone.patch_embed.projection.weight')
    if grid is None:
        grid = family.square_side(shape(weights, 'backbone.pos_embed')[1] - 1, 'tokens')
    return dict(
        img_size=grid * patch,
        patch_size=patch,
        in_chans=in_chans,
        embed_dim=dims,
        depth=count(weights, r'backbone\.layers\.(\d+)\.'),
        num_heads=VIT_HEADS.get(dims, family.UNKNOWN),
        mlp_ratio=shape(weights, 'backbone.layers.0.ffn.layers.0.0.weight')[0] / dims,
    )


def infer_vit(weights: Mapping[str, Tensor], hints: dict) -> dict:
    """timm's constructor arguments of a plain ViT."""
    attention = 'backbone.layers.0.attn'
    scale = 1e-5 if f'{attention}.gamma1.weight' in weights else None
    qkv_bias = f'{attention}.qkv.bias' in weights
    return dict(plain_arguments(weights), qkv_bias=qkv_bias, init_values=scale)


PLAIN = having('cls_token', 'pos_embed', 'blocks.0.attn.qkv.weight', 'patch_embed.proj.weight')
OPENMMLAB_PLAIN = having('backbone.pos_embed', 'backbone.layers.0.attn.qkv.weight')
# MAE's encoder has the same names: what labels were learned with tells them apart.
_LABELS = {'head.weight', 'head.bias', 'fc_norm.weight', 'blocks.0.ls1.gamma'}

_family = partial(Family, model_config=vit_model, infer=infer_vit)
TIMM = _family(
    'timm_vit',
    'ViT of timm, for mask tokens (MAE of timm: mae)',
    rules=(
        Rule('blocks.{i}.ls1.gamma', 'backbone.layers.{i}.attn.gamma1.weight'),
        Rule('blocks.{i}.ls2.gamma', 'backbone.layers.{i}.ffn.gamma2.weight'),
        *encoder_rules(),
    ),
    detect=lambda state: PLAIN(state) and not _LABELS.isdisjoint(state),
)
HUGGINGFACE = _family(
    'hf_vit',
    'ViT of transformers',
    rules=(*hf_encoder_rules(), family.LINEAR_DECODER),
    detect=having('encoder.layer.0.attention.attention.query.weight'),
    prefix='vit.',
)
DINOV2 = _family(
    'hf_dinov2',
    'DINOv2 of transformers (that of timm and of facebookresearch: timm_vit)',
    rules=(
        *hf_encoder_rules()[1:],  # its mask token is of another method
        *block_rules('encoder.layer.{i}', 'backbone.layers.{i}', _DINOV2_BLOCK),
        Rule('encoder.layer.{i}.layer_scale1.lambda1', 'backbone.layers.{i}.attn.gamma1.weight'),
        Rule('encoder.layer.{i}.layer_scale2.lambda1', 'backbone.layers.{i}.ffn.gamma2.weight'),
    ),
    detect=having('encoder.layer.0.layer_scale1.lambda1'),
    prefix='dinov2.',
)
OPENMMLAB = _family(
    'openmmlab_vit',
    'ViT of mmpretrain and mmselfsup',
    rules=family.OPENMMLAB_RULES,
    detect=lambda state: OPENMMLAB_PLAIN(state) and any(key.startswith('head.') for key in state),
)

# ---- to other libraries ----
NO_CLASSIFIER = (
    'This model has no classifier. For one, give num_classes, leave checkpoint_path out, and call '
    'model.load_state_dict(timm.models.load_state_dict(FILE), strict=False): head.* starts fresh.'
)
_OUTPUTS = (
    "out_type='featmap' is what was compared; a classifier takes out_type='cls_token' or "
    "'avg_featmap', whose norm ln2 starts fresh."
)
_POOLER = 'a layer on top of the class token, which pretraining does not train'
_MMSEG_RULES = (
    Rule('layers.{i}.attn.attn.in_proj_{rest}', 'layers.{i}.attn.qkv.{rest}'),
    Rule('layers.{i}.attn.attn.out_proj.{rest}', 'layers.{i}.attn.proj.{rest}'),
    Rule('{rest}', '{rest}'),
)


def named_arguments(vit: Any, names: str) -> dict[str, Any]:
    """Patch, channels, width, depth and heads of a ViT, under a library's names for them."""
    channels, heads = vit.patch_embed.projection.in_channels, vit.layers[0].attn.num_heads
    values = vit.token_stride, channels, vit.embed_dims, len(vit.layers), heads
    return dict(zip(names.split(), values))


def mmpretrain_export(source: Source, architecture: str, vit: Any, **changes: Any) -> Export:
    """To mmpretrain, whose names and arguments are ours."""
    size = export.plain_size(vit)
    arguments = {**source.config, **changes, 'out_type': vit.out_type, 'img_size': size}
    state = export.without(vit.state_dict(), ['mask_token'])
    return Export('mmpretrain', architecture, arguments, state, vit, notes=[_OUTPUTS])


def mmseg_arguments(vit: Any) -> dict[str, Any]:
    """Arguments that mmseg's ViT and BEiT share."""
    layer = vit.layers[0]
    return dict(
        img_size=export.plain_size(vit),
        **named_arguments(vit, 'patch_size in_channels embed_dims num_layers num_heads'),
        mlp_ratio=export.whole_ratio(layer.ffn.layers[1].in_features, vit.embed_dims, 'mmseg'),
        out_indices=list(vit.out_indices),
        norm_cfg=dict(type='LN', eps=layer.ln1.eps),
    )


def four_blocks(source: Source) -> list[int]:
    """Four blocks at equal distances, the last among them, as mmseg's configs; all of a few."""
    depth = count(source.state_dict, r'layers\.(\d+)\.')
    return sorted({depth * (i + 1) // 4 - 1 for i in range(4)} - {-1})


def timm_arguments(vit: Any) -> dict[str, Any]:
    """Arguments that timm's ViT and BEiT share."""
    return dict(
        img_size=export.plain_size(vit),
        patch_size=vit.token_stride,
        in_chans=vit.patch_embed.projection.in_channels,
        num_classes=0,
        embed_dim=vit.embed_dims,
        depth=len(vit.layers),
        num_heads=vit.layers[0].attn.num_heads,
        mlp_ratio=vit.layers[0].ffn.layers[1].in_features / vit.embed_dims,
    )


def hf_arguments(vit: Any) -> dict[str, Any]:
    """Arguments that ViT and BEiT of transformers share; both normalize the last tokens."""
    if not vit.final_norm:
        raise ExportError(
            'transformers normalizes the tokens of the last block, and this backbone does not: use '
            'our backbone, or export to mmpretrain or mmseg'
        )
    names = 'patch_size num_channels hidden_size num_hidden_layers num_attention_heads'
    return dict(
        image_size=list(export.image_size(vit)),
        **named_arguments(vit, names),
        intermediate_size=vit.layers[0].ffn.layers[1].in_features,
        layer_norm_eps=vit.layers[0].ln1.eps,
    )


def vit_to_mmpretrain(source: Source) -> Export:
    """As it is."""
    return mmpretrain_export(source, 'VisionTransformer', source.build())


def vit_to_mmseg(source: Source) -> Export:
    """Attention is ``nn.MultiheadAttention`` there; a class token always exists."""
    vit = source.build_for('mmseg', out_indices=four_blocks(source))
    if vit.layers[0].attn.qkv.bias is None:
        raise ExportError(
            "mmseg's ViT without qkv_bias has no bias after the attention either: use our backbone"
        )
    state = undo_rules(_MMSEG_RULES, export.without(vit.state_dict(), ['mask_token']))
    token = vit.cls_token is not None
    if not token:  # mmseg adds a position to it, then removes it
        state['cls_token'] = torch.zeros(1, 1, vit.embed_dims)
        state['pos_embed'] = torch.cat((state['cls_token'], state['pos_embed']), dim=1)
    options = dict(with_cls_token=token, patch_bias=True, final_norm=vit.final_norm)
    arguments = {**mmseg_arguments(vit), **options}
    return Export('mmseg', 'VisionTransformer', arguments, state, vit)


def vit_to_timm(source: Source) -> Export:
    """With or without class token."""
    vit = source.build_for('timm', out_indices=[-1])
    token = vit.cls_token is not None
    arguments = dict(
        timm_arguments(vit),
        qkv_bias=vit.layers[0].attn.qkv.bias is not None,
        class_token=token,
        global_pool='token' if token else 'avg',
        final_norm=vit.final_norm,
        fc_norm=False,
    )
    name, state = 'vit_base_patch16_224', export.renamed(vit, TIMM)
    return Export('timm', name, arguments, state, vit, notes=[NO_CLASSIFIER])


def vit_to_huggingface(source: Source) -> Export:
    """With a class token."""
    vit = source.build_for('transformers', out_indices=[-1])
    if vit.cls_token is None:
        raise ExportError("transformers' ViT has a class token: use our backbone, mmseg or timm")
    qkv_bias = vit.layers[0].attn.qkv.bias is not None
    arguments = dict(hf_arguments(vit), model_type='vit', qkv_bias=qkv_bias)
    state, fresh = export.renamed(vit, HUGGINGFACE), {'pooler.*': _POOLER}
    return Export('huggingface', 'ViTModel', arguments, state, vit, fresh=fresh)
