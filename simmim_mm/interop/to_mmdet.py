"""To mmdet: Swin, whose names are ours."""

from simmim_mm.interop.export import Export
from simmim_mm.interop.geometry import (
    image_size,
    refuse_unknown,
    swin_arguments,
    whole_ratio,
    without,
)
from simmim_mm.interop.source import Source, forget_stage_windows

NORMS = (
    'pretraining normalizes the last stage only; the norms of the others start fresh, as in the '
    "authors' recipe"
)


def swin(source: Source, target: str = 'mmdet') -> Export:
    """One window for all stages, maps padded to it; also mmseg's.

    Without the index of relative positions: mmdet builds it, and stumbles over one of another size.
    """
    refuse_unknown(source, target)
    forget_stage_windows(source.config)
    stages = len(swin_depths(source))
    ours = source.build(pad_small_map=True, out_indices=tuple(range(stages)))
    arguments = swin_arguments(ours)
    hidden, patch = arguments.pop('hidden'), arguments.pop('patch_size')
    arguments.update(
        mlp_ratio=whole_ratio(hidden, ours.embed_dims, target),
        window_size=ours.stages[0].blocks[0].attn.window_size,
        out_indices=tuple(range(stages)),
        patch_size=patch,
        strides=(patch,) + (2,) * (stages - 1),
    )
    if target == 'mmdet':  # its base configs for Swin have it True
        arguments['convert_weights'] = False
    fresh = [i for i in range(stages) if f'norm{i}.weight' not in source.state_dict]
    state = without(ours.state_dict(), ['mask_token', 'relative_position_index'])
    state = {k: v for k, v in state.items() if not k.startswith(tuple(f'norm{i}.' for i in fresh))}
    widths = [ours.embed_dims * 2**i for i in range(stages)]
    return Export(
        target=target,
        architecture='SwinTransformer',
        arguments=arguments,
        state_dict=state,
        ours=ours,
        size=image_size(ours),
        fresh={f'norm{i}.*': NORMS for i in fresh},
        notes=[f'The neck takes in_channels={widths}.'],
    )


def swin_depths(source: Source) -> tuple[int, ...]:
    """Blocks of each stage, counted in the weights."""
    stages = {int(key.split('.')[1]) for key in source.state_dict if key.startswith('stages.')}
    blocks = [key.split('.') for key in source.state_dict if '.blocks.' in key]
    return tuple(max(int(b[3]) for b in blocks if int(b[1]) == i) + 1 for i in sorted(stages))
