"""To timm: ``create_model`` of the plainest name, with every argument spelled out."""

from typing import Any

from torch import nn

from simmim_mm.interop.export import Export, ExportError
from simmim_mm.interop.geometry import (
    image_size,
    plain_size,
    refuse_unknown,
    renamed,
    stage_maps,
    stage_windows,
    swin_arguments,
)
from simmim_mm.interop.source import Source, forget_stage_windows
from simmim_mm.interop.to_mmpretrain import own_tables

_HEAD = (
    'This model has no classifier. For one, give num_classes, leave checkpoint_path out, and call '
    'model.load_state_dict(timm.models.load_state_dict(FILE), strict=False): head.* starts fresh.'
)


def swin(source: Source) -> Export:
    """Windows are clamped to small maps there too."""
    return _swin(source, 'timm_swin', 'swin_tiny_patch4_window7_224')


def swin_v2(source: Source) -> Export:
    """As Swin, and with the windows of the pretraining if they differ."""
    export = _swin(source, 'timm_swinv2', 'swinv2_tiny_window8_256')
    trained = source.config.get('pretrained_window_sizes')
    export.arguments['pretrained_window_sizes'] = tuple(trained or [0] * len(export.ours.stages))
    return export


def _swin(source: Source, family: str, name: str) -> Export:
    refuse_unknown(source, 'timm')
    forget_stage_windows(source.config)
    stages = range(1 + max(int(k.split('.')[1]) for k in source.state_dict if 'stages.' in k))
    ours = source.build(pad_small_map=False, out_indices=(stages[-1],))
    window = source.config.get('window_size', max(stage_windows(ours)))
    check_maps(ours, 'timm')
    arguments = swin_arguments(ours)
    arguments = dict(
        _sizes(ours),
        embed_dim=ours.embed_dims,
        depths=arguments['depths'],
        num_heads=arguments['num_heads'],
        window_size=window,
        mlp_ratio=arguments['hidden'] / ours.embed_dims,
        qkv_bias=arguments['qkv_bias'],
    )
    return _export(ours, family, name, arguments)


def vit(source: Source) -> Export:
    """With or without class token."""
    refuse_unknown(source, 'timm')
    ours = source.build(out_indices=[-1])
    token = ours.cls_token is not None
    arguments = dict(
        _vit_arguments(ours),
        qkv_bias=ours.layers[0].attn.qkv.bias is not None,
        class_token=token,
        global_pool='token' if token else 'avg',
        final_norm=ours.final_norm,
        fc_norm=False,
    )
    return _export(ours, 'timm_vit', 'vit_base_patch16_224', arguments)


def beit(source: Source) -> Export:
    """With a table of position biases in each block, as the authors fine-tune."""
    refuse_unknown(source, 'timm')
    tables = own_tables(source)
    ours = source.build(**tables, out_indices=[-1])
    attn = ours.layers[0].attn
    if not ours.final_norm:
        raise ExportError(
            "timm's BEiT normalizes either all tokens or their mean, and this backbone has no norm "
            'of the last block: use our backbone, or export to mmpretrain or mmseg'
        )
    if attn.qkv.bias is not None:
        raise ExportError("timm's BEiT has biases of queries and values only: use our backbone")
    scale = ours.layers[0].gamma_1 is not None
    arguments = dict(
        _vit_arguments(ours),
        qkv_bias=getattr(attn, 'q_bias', None) is not None,
        init_values=0.1 if scale else 0.0,
        use_abs_pos_emb=ours.pos_embed is not None,
        use_rel_pos_bias=tables['use_rel_pos_bias'],
        use_shared_rel_pos_bias=False,
        use_fc_norm=False,
    )
    return _export(ours, 'timm_beit', 'beit_base_patch16_224', arguments)


def check_maps(ours: nn.Module, library: str) -> None:
    """Refuse maps on which the library places its windows in another way than we do.

    Raises:
        ExportError: If windows are clamped on a map that is not square, or do not divide it.
    """
    for i, (window, (h, w)) in enumerate(zip(stage_windows(ours), stage_maps(ours))):
        if min(h, w) <= window and h != w:
            raise ExportError(
                f'stage {i + 1} has a map of {h}x{w} tokens and windows of {window}: {library} '
                'shifts these along the longer side only. Give a square --img-size, or a smaller '
                '--window'
            )
        if min(h, w) > window and (h % window or w % window):
            raise ExportError(
                f'stage {i + 1} has a map of {h}x{w} tokens, which windows of {window} do not '
                f'divide, and {library} pads it otherwise than we do. Give another --img-size or '
                '--window'
            )


def _sizes(ours: nn.Module) -> dict[str, Any]:
    return dict(
        img_size=plain_size(image_size(ours)),
        patch_size=ours.token_stride,
        in_chans=ours.patch_embed.projection.in_channels,
        num_classes=0,
    )


def _vit_arguments(ours: nn.Module) -> dict[str, Any]:
    layer = ours.layers[0]
    return dict(
        _sizes(ours),
        embed_dim=ours.embed_dims,
        depth=len(ours.layers),
        num_heads=layer.attn.num_heads,
        mlp_ratio=layer.ffn.layers[1].in_features / ours.embed_dims,
    )


def _export(ours: nn.Module, family: str, name: str, arguments: dict[str, Any]) -> Export:
    state = renamed(ours, family)
    return Export('timm', name, arguments, state, ours, image_size(ours), notes=[_HEAD])
