"""What the values of an image stand for: no data, and the window of them that is of interest."""

import math
from collections.abc import Sequence

import numpy as np

Nodata = float | str | None  # a value, or 'file': the one that the file declares
Window = str | Sequence[float | str]  # 'file', or low and high: values, or percentiles ('1%')

_MAX_COUNTED = 1_000_000  # values from which percentiles are taken


def check_nodata(nodata: Nodata) -> Nodata:
    """The setting, with ``'nan'`` as a number.

    Raises:
        ValueError: If it is neither a number nor ``'file'``.
    """
    if nodata in (None, 'file'):
        return nodata
    try:
        return float(nodata)  # type: ignore[arg-type]  # what it cannot take is refused here
    except (TypeError, ValueError):
        raise ValueError(f"nodata must be a number, 'nan' or 'file', got {nodata!r}") from None


def find_nodata(array: np.ndarray, value: float | None) -> np.ndarray:
    """Pixels that hold no data: bool ``(H, W)`` of an ``(H, W, C)``.

    0 to 65535 may also be a value of the image, so there every channel has to have it; any other
    value counts in a single channel, and so do NaN and infinity.

    Args:
        array: Values as they are in the file.
        value: The value that stands for no data; None or NaN: NaN and infinity alone.
    """
    found = np.zeros(array.shape[:2], bool)
    if array.dtype.kind == 'f':
        found |= ~np.isfinite(array).all(-1)
    if value is not None and not math.isnan(value):
        equal = array == (int(value) if array.dtype.kind in 'ui' and value % 1 == 0 else value)
        found |= equal.all(-1) if 0 <= value <= 65535 else equal.any(-1)
    return found


def fill_nodata(array: np.ndarray, nodata: np.ndarray) -> np.ndarray:
    """Put the mean of the other pixels, channel by channel, where there are no data.

    Args:
        array: ``(H, W, C)``.
        nodata: Bool ``(H, W)``.

    Raises:
        ValueError: If there are data nowhere.
    """
    if nodata.all():
        raise ValueError('holds nothing but no-data')
    if not nodata.any():
        return array
    mean = array[~nodata].mean(0, dtype=np.float64)
    fill = np.rint(mean) if array.dtype.kind in 'ui' else mean
    return np.where(nodata[..., None], fill.astype(array.dtype), array)


def finite_values(array: np.ndarray) -> np.ndarray:
    """``array`` itself, or of floats the ``(n,)`` values that are neither NaN nor infinite."""
    return array[np.isfinite(array)] if array.dtype.kind == 'f' else array


def suspect_nodata(array: np.ndarray) -> float | None:
    """A value that stands for no data, by all appearances.

    It is the lowest or highest of the image, a thousandth of the values or more have it, and it
    lies farther from the others than these from each other. None if there is no such value.

    Args:
        array: Of any shape; NaN and infinity are left out.
    """
    values = finite_values(array).ravel()
    if array.dtype == np.uint8 or not values.size:
        return None
    low, high = values.min(), values.max()
    for value in (low, high):
        is_value = values == value
        if is_value.mean() < 0.001 or is_value.all():
            continue
        others = values[~is_value]
        start, end = float(others.min()), float(others.max())
        gap = start - float(low) if value == low else float(high) - end
        if gap > max(end - start, 1e-3 * abs(gap)):
            return value.item()
    return None


def check_window(window: Window | None) -> None:
    """Raise ValueError if a window is not ``(low, high)`` of numbers or percentiles, or 'file'."""
    if window in (None, 'file'):
        return
    try:
        if isinstance(window, str) or len(window) != 2:
            raise ValueError
        low, high = (_number(end) for end in window)
        percent = [isinstance(end, str) for end in window]
        if percent[0] == percent[1] and low >= high:
            raise ValueError
        if any(p and not 0 <= end <= 100 for p, end in zip(percent, (low, high))):
            raise ValueError
    except (TypeError, ValueError):
        raise ValueError(
            'window must be the lowest and highest value to show, numbers such as (-160, 240) or '
            f"percentiles such as ('1%', '99%'), or 'file' for DICOM; got {window!r}"
        ) from None


def apply_window(
    array: np.ndarray, window: Sequence[float | str], joint: bool, nodata: np.ndarray | None = None
) -> np.ndarray:
    """Clip values to a window, and stretch it to 0..255.

    Args:
        array: ``(H, W, C)``.
        window: Lowest and highest value, or percentiles of the image's values.
        joint: Percentiles of all channels together, which keeps colors; else of each channel.
        nodata: Bool ``(H, W)``; these pixels do not count in percentiles.

    Returns:
        float32, 0 to 255. What is constant becomes 0.
    """
    values = array.reshape(-1, array.shape[-1])
    if nodata is not None:
        values = values[~nodata.ravel()]
    values = values[:: -(-values.size // _MAX_COUNTED)]
    axis = None if joint else 0
    low, high = (
        np.percentile(values, _number(end), axis) if isinstance(end, str) else np.float64(end)
        for end in window
    )
    span = np.maximum(high - low, 1e-12)
    scaled = (array.astype(np.float32) - np.float32(low)) * (255 / span).astype(np.float32)
    return scaled.clip(0, 255)


def _number(end: float | str) -> float:
    if isinstance(end, str):
        if not end.endswith('%'):
            raise ValueError(end)
        return float(end[:-1])
    return float(end)
