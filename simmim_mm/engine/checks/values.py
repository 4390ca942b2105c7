"""Values of the images, against the mean and standard deviation of the config."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from simmim_mm._text import config_line
from simmim_mm.datasets.errors import DataError
from simmim_mm.datasets.transforms.loading import LoadImage
from simmim_mm.datasets.values import find_nodata, finite_values, suspect_nodata
from simmim_mm.engine.checks.trace import Trace
from simmim_mm.masking import patchify

_FAR_MEAN = 4.0  # in standard deviations of the config; photographs stay below 3
_STD = (0.05, 8.0)  # images of far less or more contrast than the config says
_USELESS = 1e6  # with such values no training gets anywhere
_FLAT, _MOSTLY = 0.05, 0.5  # three gray levels of photographs; fraction of the patches
_SMALL_RANGE = 0.25  # of 16 bits: 64 gray levels of 256, or fewer


class _Pipeline(NamedTuple):
    """Where a warning says to write something.

    Attributes:
        place: Of the pipeline in the config.
        loader: Its loader, if it is the one of this package.
        preprocessor: Config of the data preprocessor.
    """

    place: str
    loader: LoadImage | None
    preprocessor: Mapping[str, Any]

    def write(self, **settings: Any) -> str:
        """The line that sets these of the loader, and where it goes."""
        line = (self.loader or LoadImage()).config_line(**settings)
        text = f'Write {line} in the place of the loader, the first step of {self.place}'
        from_bgr = [key for key in ('bgr_to_rgb', 'to_rgb') if self.preprocessor.get(key)]
        if self.loader is None and from_bgr:
            text += f', and {from_bgr[0]}=False in data_preprocessor, for it loads RGB'
        return text


def check_values(traces: Sequence[Trace], preprocessor: Mapping[str, Any], place: str) -> list[str]:
    """Compare what a pipeline gives with what the model takes.

    Args:
        traces: A few images of a data set.
        preprocessor: Config of the data preprocessor; without ``mean`` and ``std`` nothing is
            compared with them.
        place: Where the data set stands in the config.

    Returns:
        One warning, or none: a file, its values and the lines to set.

    Raises:
        DataError: If no training is possible, because of huge values, or if no-data is declared
            and the pipeline does not hand it to the model.
    """
    if not traces:
        return []
    _check_packed(traces[0], place)
    mean, std = preprocessor.get('mean'), preprocessor.get('std')
    scores = [_normalize(t.inputs, mean, std) for t in traces] if mean and std else []
    pipeline = _Pipeline(f'{place}.pipeline', traces[0].loader, preprocessor)
    advice = _nodata(traces, pipeline) or _small_range(traces, pipeline) or _constant(traces)
    misfit = _misfit(scores)
    if misfit and not advice:
        advice = _lines(traces, pipeline)
    if not advice:
        return []
    dtype, (low, high) = traces[0].stored.array.dtype, _range([t.stored.array for t in traces])
    facts = (
        f'{advice} {len(traces)} images tried, such as {traces[0].path} ({dtype}), have values '
        f'from {_exact(low, dtype)} to {_exact(high, dtype)}.{misfit}'
    )
    if any(not bool(score.abs().max() < _USELESS) for score in scores):
        raise DataError(
            f'{place}: nothing can be learned from values as large as these, so that the training '
            f'does not start. {facts}'
        )
    return [f'{place}: the values of the images do not suit the config. {facts}']


def check_contrast(
    traces: Sequence[Trace], preprocessor: Mapping[str, Any], targets: Sequence[Any], place: str
) -> list[str]:
    """Say if ``NormPix`` would blow up the noise of flat patches, which are most of the images.

    Args:
        traces: A few images of a data set.
        preprocessor: Config of the data preprocessor.
        targets: ``model.target`` of the config.
        place: Where the data set stands in the config.

    Returns:
        One warning, or none.
    """
    mean, std = preprocessor.get('mean'), preprocessor.get('std')
    target = next((t for t in targets if str(t.get('type')).endswith('NormPix')), None)
    if not traces or target is None or target.get('min_std') or not (mean and std):
        return []
    side = target.get('patch_size') or 16
    flat: list[bool] = []
    for trace in traces:
        height, width = (size // side * side for size in trace.size)
        image = _normalize(trace.inputs, mean, std).view(trace.inputs.shape)
        patches = image[None, :, :height, :width]
        if patches.numel():
            flat += (patchify(patches, side).std(-1) < _FLAT).flatten().tolist()
    fraction = float(np.mean(flat or [False]))
    if fraction < _MOSTLY:
        return []
    settings = {key: value for key, value in target.items() if key != 'type'}
    return [
        f'{place}: {fraction:.0%} of the patches of {side} pixels are flat but for noise (standard '
        f'deviation below {_FLAT} after normalization), as in {traces[0].path}. NormPix gives '
        'their noise full contrast, which nothing can predict: in model.target, write '
        f'{config_line("NormPix", **settings, min_std=_FLAT)} in its place, or leave it out to '
        'predict plain pixels.'
    ]


def _check_packed(trace: Trace, place: str) -> None:
    sample = trace.sample.get('data_samples', ())
    nodata = trace.loader and trace.loader.nodata
    if nodata is not None and 'mask' in sample and 'nodata' not in sample:
        raise DataError(
            f'{place}: the loader has nodata={nodata!r}, but the model is not told of it: write '
            "dict(type='mmpretrain.PackInputs', algorithm_keys=['mask', 'nodata']) as the last "
            f'step of {place}.pipeline'
        )


def _normalize(inputs: Tensor, mean: Any, std: Any) -> Tensor:
    """``(C, N)`` float64, normalized."""
    values = inputs.reshape(len(inputs), -1).double()
    mean, std = (torch.tensor(list(x), dtype=torch.float64).view(-1, 1) for x in (mean, std))
    fits = len(mean) in (1, len(values))  # if not, the model says so
    return (values - mean) / std if fits else values.new_zeros(values.shape)


def _misfit(scores: Sequence[Tensor]) -> str:
    """What is wrong with the normalized values, of the worst channel."""
    if not scores or not any(score.any() for score in scores):
        return ''
    pooled = torch.cat([score[:, :: -(-score.shape[1] // 100_000)] for score in scores], 1)
    mean, std = pooled.mean(1), pooled.std(1)
    badness = torch.maximum(mean.abs() / _FAR_MEAN, std / _STD[1])
    badness = torch.maximum(badness, _STD[0] / std.clamp(min=1e-9))
    worst = int(badness.argmax())
    if bool(badness[worst] <= 1):
        return ''
    return (
        f' Normalized by mean and std of data_preprocessor, channel {worst} has mean '
        f'{mean[worst]:.3g} and standard deviation {std[worst]:.3g}, which should be near 0 and 1.'
    )


def _nodata(traces: Sequence[Trace], pipeline: _Pipeline) -> str:
    """What to set if a file declares no-data, or has a far value that repeats."""
    for trace in traces:
        stored, loader, dtype = trace.stored, trace.loader, trace.stored.array.dtype
        if loader is not None and loader.nodata is not None:
            continue
        value, reason = stored.nodata, 'which it declares as no-data'
        setting: float | str | None = 'file'
        found = find_nodata(stored.colors, value).mean() if value is not None else 0
        if value is None or not found:
            value, reason = suspect_nodata(stored.colors), 'far from all others, as no-data is'
            if value is None:
                continue
            found = (stored.colors == value).mean()
            setting = float(_exact(value, dtype)) if dtype.kind == 'f' else value
        return (
            f'{pipeline.write(nodata=setting)}: {found:.1%} of {trace.path} has the value '
            f'{_exact(value, dtype)}, {reason}, and would be learned as if it were a part of the '
            'image.'
        )
    return ''


def _small_range(traces: Sequence[Trace], pipeline: _Pipeline) -> str:
    """What to set if of 16 bits a few are used."""
    stored = [t.stored.array for t in traces]
    loader = traces[0].loader
    by_257 = loader is None or (loader.channels in ('rgb', 'gray') and loader.window is None)
    if not by_257 or any(x.dtype.kind != 'u' or x.dtype.itemsize != 2 for x in stored):
        return ''
    low, high = map(int, _range(stored))
    if not 0 < high < _SMALL_RANGE * 65535 or low == high:
        return ''
    bits = max(8, high.bit_length())
    window = (low, high) if low > high / 4 else (0, 2**bits - 1)
    levels = round(high / 257) - round(low / 257) + 1
    return (
        f"{pipeline.write(window=window)}, or window=('1%', '99%') there for percentiles of each "
        f'image: 16 bits are divided by 257, which leaves {levels} of 256 gray levels.'
    )


def _constant(traces: Sequence[Trace]) -> str:
    if any(bool((t.inputs != t.inputs[:, :1, :1]).any()) for t in traces):
        return ''
    return (
        'Are these the right images? In each that was tried, all pixels are the same; `simmim '
        'scan FOLDER` lists such files.'
    )


def _lines(traces: Sequence[Trace], pipeline: _Pipeline) -> str:
    """The mean and standard deviation to set, or the window that makes the former ones right."""
    values = torch.cat([t.inputs.flatten(1)[:, ::7].double() for t in traces], 1)
    if len(pipeline.preprocessor['mean']) == 1:
        values = values.reshape(1, -1)
    mean, std = (', '.join(f'{x:.5g}' for x in v.tolist()) for v in (values.mean(1), values.std(1)))
    text = (
        f'Set mean=[{mean}] and std=[{std}] in data_preprocessor (`simmim stats FOLDER` finds them '
        'in all images)'
    )
    loader, stored = traces[0].loader, [t.stored.array for t in traces]
    if loader is None or loader.channels not in ('rgb', 'gray') or loader.window is not None:
        return f'{text}.'
    low, high = _range(stored)
    if stored[0].dtype == np.uint8 or not (isfinite(low) and isfinite(high)) or low == high:
        return f'{text}.'
    low, high = (0, 1) if low >= 0 and 0.5 < high <= 1 else (low, high)
    write = pipeline.write(window=(_short(low), _short(high)))
    return (
        f'{text}; or keep the mean and std that are there, and bring the images to the range that '
        f'they are for: {write[:1].lower()}{write[1:]}.'
    )


def _exact(value: float, dtype: np.dtype) -> str:
    """A value of the file, not rounded."""
    return str(dtype.type(value)) if np.isfinite(value) else str(value)


def _short(value: float) -> float:
    """To six digits, and an int if it is one."""
    value = float(f'{value:.6g}')
    return int(value) if value % 1 == 0 else value


def _range(arrays: Sequence[np.ndarray]) -> tuple[float, float]:
    finite = [a for a in map(finite_values, arrays) if a.size]
    if not finite:
        return float('nan'), float('nan')
    return float(min(a.min() for a in finite)), float(max(a.max() for a in finite))
