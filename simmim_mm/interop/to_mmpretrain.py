"""To mmpretrain, whose names are ours."""

from typing import Any

from torch import nn

from simmim_mm.interop.export import Export
from simmim_mm.interop.geometry import image_size, plain_size, stage_windows, without
from simmim_mm.interop.source import Source, forget_stage_windows

_FEATURES = (
    "out_type='featmap' is what was compared; a classifier takes out_type='cls_token' or "
    "'avg_featmap', whose norm ln2 starts fresh."
)


def swin(source: Source) -> Export:
    """Its index of relative positions goes along: mmpretrain removes it without looking."""
    ours = source.build()
    # mmpretrain does not clamp windows to small maps, it refuses these
    windows = stage_windows(ours)
    config = dict(source.config)
    if len(set(windows)) > 1:
        stages = config.get('stage_cfgs') or {}
        stages = [stages] * len(windows) if isinstance(stages, dict) else stages
        config['stage_cfgs'] = [{**s, 'window_size': w} for s, w in zip(stages, windows)]
    else:
        forget_stage_windows(config)
    config['window_size'] = max(windows)
    return _export(source, ours, 'SwinTransformer', config, ['mask_token'])


def swin_v2(source: Source) -> Export:
    """Without tables of positions: mmpretrain removes them and keeps its own."""
    ours = source.build()
    config = {**source.config, 'window_size': list(ours.window_sizes)}
    tables = ['mask_token', 'relative_position_index', 'relative_coords_table']
    return _export(source, ours, 'SwinTransformerV2', config, tables)


def vit(source: Source) -> Export:
    """As it is."""
    ours = source.build()
    config = {**source.config, 'out_type': ours.out_type}
    return _export(source, ours, 'VisionTransformer', config, ['mask_token'], _FEATURES)


def beit(source: Source) -> Export:
    """With a table of position biases in each block, as the authors fine-tune."""
    tables = own_tables(source)
    ours = source.build(**tables)
    config = dict(
        source.config,
        **tables,
        final_norm=ours.final_norm,
        out_type=ours.out_type,
    )
    return _export(source, ours, 'BEiTViT', config, ['mask_token'], _FEATURES)


def own_tables(source: Source) -> dict[str, bool]:
    """Arguments of a BEiT that give each block the table which pretraining shares."""
    config = source.config
    biased = config.get('use_rel_pos_bias', False) or config.get('use_shared_rel_pos_bias', True)
    return dict(use_rel_pos_bias=biased, use_shared_rel_pos_bias=False)


def _export(
    source: Source, ours: nn.Module, kind: str, config: dict[str, Any], left: list[str], *notes: str
) -> Export:
    size = image_size(ours)
    return Export(
        target='mmpretrain',
        architecture=kind,
        arguments={**config, 'img_size': plain_size(size)},
        state_dict=without(ours.state_dict(), left),
        ours=ours,
        size=size,
        notes=list(notes),
    )
