"""To mmseg: Swin, ViT and BEiT; its loaders expect names without a prefix."""

import torch

from simmim_mm.interop import to_mmdet
from simmim_mm.interop.export import Export, ExportError
from simmim_mm.interop.geometry import image_size, plain_size, refuse_unknown, whole_ratio, without
from simmim_mm.interop.rules import Rule, undo_rules
from simmim_mm.interop.source import Source
from simmim_mm.interop.to_mmpretrain import own_tables

_VIT_RULES = (
    Rule('layers.{i}.attn.attn.in_proj_{rest}', 'layers.{i}.attn.qkv.{rest}'),
    Rule('layers.{i}.attn.attn.out_proj.{rest}', 'layers.{i}.attn.proj.{rest}'),
    Rule('{rest}', '{rest}'),
)


def swin(source: Source) -> Export:
    """As mmdet's, of which mmseg's is a copy."""
    return to_mmdet.swin(source, 'mmseg')


def vit(source: Source) -> Export:
    """Attention is ``nn.MultiheadAttention`` there; a class token always exists."""
    refuse_unknown(source, 'mmseg')
    if not source.config.get('qkv_bias', True):
        raise ExportError(
            "mmseg's ViT without qkv_bias has no bias after the attention either: use our backbone"
        )
    ours = source.build(out_indices=_four(source))
    state = undo_rules(_VIT_RULES, without(ours.state_dict(), ['mask_token']))
    if ours.cls_token is None:  # mmseg adds a position to it, then removes it
        state['cls_token'] = torch.zeros(1, 1, ours.embed_dims)
        state['pos_embed'] = torch.cat((state['cls_token'], state['pos_embed']), dim=1)
    arguments = dict(
        _common(ours),
        with_cls_token=ours.cls_token is not None,
        patch_bias=True,
        final_norm=ours.final_norm,
    )
    return Export('mmseg', 'VisionTransformer', arguments, state, ours, image_size(ours))


def beit(source: Source) -> Export:
    """With a table of position biases in each block, and layer scale in any case."""
    refuse_unknown(source, 'mmseg')
    tables = own_tables(source)
    ours = source.build(**tables, out_indices=_four(source))
    if ours.pos_embed is not None or not tables['use_rel_pos_bias']:
        raise ExportError(
            "mmseg's BEiT has relative position biases only, this backbone another position "
            'embedding: use our backbone in the config'
        )
    attn = ours.layers[0].attn
    if attn.qkv.bias is not None:
        raise ExportError("mmseg's BEiT has biases of queries and values only: use our backbone")
    if ours.patch_resolution[0] != ours.patch_resolution[1]:
        raise ExportError(
            "mmseg's BEiT loads weights for square images only: give a square --img-size, or use "
            'our backbone in the config'
        )
    state = without(ours.state_dict(), ['mask_token', 'relative_position_index'])
    notes = []
    scaled = ours.layers[0].gamma_1 is not None
    if not scaled:
        for i in range(len(ours.layers)):
            state.update({f'layers.{i}.gamma_{j}': torch.ones(ours.embed_dims) for j in (1, 2)})
        notes.append("mmseg's BEiT always has layer scale: it starts at 1, which changes nothing.")
    arguments = dict(
        _common(ours),
        qv_bias=getattr(attn, 'q_bias', None) is not None,
        final_norm=ours.final_norm,
        init_values=0.1 if scaled else 1.0,
    )
    return Export('mmseg', 'BEiT', arguments, state, ours, image_size(ours), notes=notes)


def _four(source: Source) -> list[int]:
    """Four blocks at equal distances, the last among them, as mmseg's configs; all of a few."""
    depth = 1 + max(int(k.split('.')[1]) for k in source.state_dict if k.startswith('layers.'))
    return sorted({depth * (i + 1) // 4 - 1 for i in range(4)} - {-1})


def _common(ours) -> dict:
    layer = ours.layers[0]
    return dict(
        img_size=plain_size(image_size(ours)),
        patch_size=ours.token_stride,
        in_channels=ours.patch_embed.projection.in_channels,
        embed_dims=ours.embed_dims,
        num_layers=len(ours.layers),
        num_heads=layer.attn.num_heads,
        mlp_ratio=whole_ratio(layer.ffn.layers[1].in_features, ours.embed_dims, 'mmseg'),
        out_indices=list(ours.out_indices),
        norm_cfg=dict(type='LN', eps=layer.ln1.eps),
    )
