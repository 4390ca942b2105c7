"""Sizes of images, against what a model sees of them."""

from collections.abc import Sequence

from simmim_mm.engine.checks.trace import Trace

_SHRUNK = 6.0  # pixels of the file, along a side, for one of the model's
_AIM = 2.0  # what the advice leads to


def check_sizes(traces: Sequence[Trace], scope: str, place: str) -> list[str]:
    """Say what becomes of details where images are much larger than what the model sees.

    Args:
        traces: A few images of a data set.
        scope: ``default_scope`` of the config, by which the way out differs.
        place: Where the data set stands in the config.

    Returns:
        One warning, or none.
    """
    if not traces:
        return []
    trace = sorted(traces, key=lambda t: t.shrinkage)[len(traces) // 2]
    shrinkage = trace.shrinkage
    if shrinkage < _SHRUNK:
        return []
    height, width = trace.stored.array.shape[:2]
    seen = f'{round(width / shrinkage)}x{round(height / shrinkage)}'
    return [
        f'{place}: images such as {trace.path}, of {width}x{height} pixels, are scaled to '
        f'{seen} for the model: an object of 20 pixels becomes one of {20 / shrinkage:.1f}. '
        + _way_out(trace, scope)
    ]


def _way_out(trace: Trace, scope: str) -> str:
    height, width = trace.stored.array.shape[:2]
    scale = f'({round(max(width, height) / _AIM)}, {round(min(width, height) / _AIM)})'
    if scope == 'mmseg':
        return (
            f'If details matter, set img_scale={scale} (Resize and RandomResize) and validate in '
            "windows: model.test_cfg=dict(mode='slide', crop_size=(512, 512), stride=(384, 384))."
        )
    if scope == 'mmdet':
        return (
            f'If details matter, set img_scale={scale} (Resize), or cut the images and their boxes '
            'into tiles.'
        )
    ratio = min(1.0, _AIM**2 * trace.size[0] * trace.size[1] / (height * width))
    return (
        'If details matter, take smaller crops, '
        f'RandomResizedCrop(crop_ratio_range=({ratio / 4:.1g}, {ratio:.1g})), or cut the images '
        'into tiles, which also load faster.'
    )
