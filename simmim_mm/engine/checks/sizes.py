"""Sizes of images, against what a model sees of them."""

from collections.abc import Sequence

from simmim_mm._text import config_line
from simmim_mm.engine.checks.trace import Trace

_SHRUNK = 6.0  # pixels of the file, along a side, for one of the model's
_AIM = 2.0  # what the advice leads to


def check_sizes(
    traces: Sequence[Trace], scope: str, place: str, trained: Sequence[Trace] = ()
) -> list[str]:
    """Say what becomes of details where images are much larger than what the model sees.

    Args:
        traces: A few images of a data set.
        scope: ``default_scope`` of the config, by which the way out differs.
        place: Where the data set stands in the config.
        trained: A few images of the training, whose crops are the windows of a validation.

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
        f'{seen} for the model: an object 20 pixels wide becomes {20 / shrinkage:.1f} pixels wide. '
        + _way_out(trace, scope, trained)
    ]


def _way_out(trace: Trace, scope: str, trained: Sequence[Trace]) -> str:
    height, width = trace.stored.array.shape[:2]
    scale = (round(max(width, height) / _AIM), round(min(width, height) / _AIM))
    kept = f'If such objects matter, keep them {20 / _AIM:.0f} pixels wide: '
    half = f'scale={scale}, which is half of each side, in Resize'
    ready = (
        'of the ready-made configs, edit img_scale in a copy of the file, for --cfg-options does '
        'not reach what is computed from it'
    )
    if scope == 'mmseg':
        window = _window(trained, scale[1])
        stride = (window[0] * 3 // 4, window[1] * 3 // 4)
        return (
            f'{kept}write {half} and RandomResize ({ready}), crop_size={window} in RandomCrop and '
            'as size of data_preprocessor, and validate in windows as large: '
            f"model.test_cfg=dict(mode='slide', crop_size={window}, stride={stride})."
        )
    if scope == 'mmdet':
        return (
            f'{kept}write {half}, of the training, too ({ready}), or cut the images and their '
            'boxes into tiles.'
        )
    ratio = min(1.0, _AIM**2 * trace.size[0] * trace.size[1] / (height * width))
    size = trace.size[0] if trace.size[0] == trace.size[1] else trace.size
    limits = (float(f'{ratio / 4:.1g}'), float(f'{ratio:.1g}'))
    line = config_line('RandomResizedCrop', scale=size, crop_ratio_range=limits)
    return (
        f'{kept}crop smaller parts of the images, by {line} as the crop of the pipeline, or cut '
        'the images into tiles, which also load faster.'
    )


def _window(trained: Sequence[Trace], side: int) -> tuple[int, int]:
    """Height and width of the crops of a training, or what is usual, within a side of images."""
    for trace in trained:
        height, width = trace.stored.array.shape[:2]
        is_cropped = trace.size[0] * trace.size[1] * trace.shrinkage**2 < 0.8 * height * width
        if is_cropped and max(trace.size) <= side:
            return trace.size
    usual = max(32, min(512, side // 32 * 32))
    return usual, usual
