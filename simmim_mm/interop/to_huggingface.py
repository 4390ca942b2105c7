"""To transformers: a folder for ``from_pretrained``."""

from typing import Any

from torch import nn

from simmim_mm.interop.export import Export, ExportError
from simmim_mm.interop.geometry import (
    image_size,
    refuse_unknown,
    renamed,
    stage_maps,
    stage_windows,
    swin_arguments,
    whole_ratio,
)
from simmim_mm.interop.source import Source, forget_stage_windows
from simmim_mm.interop.to_mmpretrain import own_tables

_POOLER = 'a layer on top of the class token, which pretraining does not train'


def swin(source: Source) -> Export:
    """The tables there have the full window in every stage."""
    ours, arguments = _swin(source)
    windows = stage_windows(ours)
    window = source.config.get('window_size', max(windows))
    for i, (own, (h, w)) in enumerate(zip(windows, stage_maps(ours))):
        if own != window:
            raise ExportError(
                f'stage {i + 1} has a map of {h}x{w} tokens, smaller than the window of {window}, '
                "which transformers' Swin cannot hold: give a larger --img-size or a smaller "
                '--window'
            )
    arguments.update(model_type='swin', window_size=window)
    return _export(ours, 'hf_swin', 'SwinModel', arguments)


def swin_v2(source: Source) -> Export:
    """Windows are clamped to small maps there too."""
    ours, arguments = _swin(source)
    window = source.config.get('window_size', max(ours.window_sizes))
    for i, (own, (h, w)) in enumerate(zip(ours.window_sizes, stage_maps(ours))):
        if own != min(window, h, w) or (min(h, w) <= window and h != w):
            raise ExportError(
                f'stage {i + 1} has a map of {h}x{w} tokens and windows of {own}, which '
                "transformers' Swin v2 cannot hold: give a square --img-size, or one --window"
            )
    trained = source.config.get('pretrained_window_sizes') or [0] * len(ours.stages)
    arguments.update(model_type='swinv2', window_size=window, pretrained_window_sizes=list(trained))
    return _export(ours, 'hf_swinv2', 'Swinv2Model', arguments)


def vit(source: Source) -> Export:
    """With a class token."""
    refuse_unknown(source, 'transformers')
    ours = source.build(out_indices=[-1])
    if ours.cls_token is None:
        raise ExportError("transformers' ViT has a class token: use our backbone, mmseg or timm")
    _need_final_norm(ours)
    arguments = dict(
        _vit_arguments(ours),
        model_type='vit',
        qkv_bias=ours.layers[0].attn.qkv.bias is not None,
    )
    return _export(ours, 'hf_vit', 'ViTModel', arguments, {'pooler.*': _POOLER})


def beit(source: Source) -> Export:
    """With a table of position biases in each block, as the authors fine-tune."""
    refuse_unknown(source, 'transformers')
    tables = own_tables(source)
    ours = source.build(**tables, out_indices=[-1])
    _need_final_norm(ours)
    layer = ours.layers[0]
    if layer.attn.qkv.bias is not None or getattr(layer.attn, 'q_bias', None) is None:
        raise ExportError(
            "transformers' BEiT has biases of queries and values, no more and no less: use our "
            'backbone'
        )
    arguments = dict(
        _vit_arguments(ours),
        model_type='beit',
        use_absolute_position_embeddings=ours.pos_embed is not None,
        use_relative_position_bias=tables['use_rel_pos_bias'],
        use_shared_relative_position_bias=False,
        layer_scale_init_value=0.0 if layer.gamma_1 is None else 0.1,
        use_mean_pooling=False,  # its model normalizes the tokens, or their mean
    )
    return _export(ours, 'hf_beit', 'BeitModel', arguments)


def _swin(source: Source) -> tuple[nn.Module, dict[str, Any]]:
    refuse_unknown(source, 'transformers')
    forget_stage_windows(source.config)
    stages = 1 + max(int(k.split('.')[1]) for k in source.state_dict if k.startswith('stages.'))
    ours = source.build(pad_small_map=False, out_indices=(stages - 1,))
    shared = swin_arguments(ours)
    arguments = dict(
        image_size=list(image_size(ours)),
        patch_size=shared['patch_size'],
        num_channels=shared['in_channels'],
        embed_dim=ours.embed_dims,
        depths=list(shared['depths']),
        num_heads=list(shared['num_heads']),
        mlp_ratio=float(whole_ratio(shared['hidden'], ours.embed_dims, 'transformers')),
        qkv_bias=shared['qkv_bias'],
        layer_norm_eps=ours.stages[0].blocks[0].norm1.eps,
    )
    return ours, arguments


def _need_final_norm(ours: nn.Module) -> None:
    if not ours.final_norm:
        raise ExportError(
            'transformers normalizes the tokens of the last block, and this backbone does not: use '
            'our backbone, or export to mmpretrain or mmseg'
        )


def _vit_arguments(ours: nn.Module) -> dict[str, Any]:
    layer = ours.layers[0]
    return dict(
        image_size=list(image_size(ours)),
        patch_size=ours.token_stride,
        num_channels=ours.patch_embed.projection.in_channels,
        hidden_size=ours.embed_dims,
        num_hidden_layers=len(ours.layers),
        num_attention_heads=layer.attn.num_heads,
        intermediate_size=layer.ffn.layers[1].in_features,
        layer_norm_eps=layer.ln1.eps,
    )


def _export(
    ours: nn.Module, family: str, name: str, arguments: dict[str, Any], fresh: dict | None = None
) -> Export:
    state = renamed(ours, family)
    size = image_size(ours)
    return Export('huggingface', name, arguments, state, ours, size, fresh=fresh or {})
