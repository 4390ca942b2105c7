"""Segmentation maps: images whose pixel values are class numbers, or how salient a place is."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from mmengine import fileio
from PIL import ImageOps, UnidentifiedImageError

from simmim_mm._text import EVERYWHERE, config_line
from simmim_mm.datasets.decode import decode, open_pillow, quiet_decoders
from simmim_mm.datasets.errors import DataError, UnsuitableFile, UnsupportedImage, first_few
from simmim_mm.datasets.limits import MAX_PIXELS

Values: TypeAlias = Mapping[int | str, int]
_MOST_COLORS = 32  # more are no classes, but blurred or compressed
_LARGEST = 1 << 53  # below which a float tells whole numbers apart


def load_segmentation_map(
    path: str | Path, backend_args: dict | None = None, gray: bool = False
) -> np.ndarray:
    """Read a map as it is stored; palette images give their indices. EXIF orientation is applied.

    Args:
        path: Of any storage that ``mmengine.fileio`` knows.
        backend_args: For ``mmengine.fileio.get``.
        gray: Take a gray image that is stored with colors, too, as saliency maps are.

    Returns:
        ``(H, W)`` of the file's own dtype.

    Raises:
        DataError: If it cannot be read; UnsuitableFile if it has several channels.
    """
    values = _read(path, backend_args)
    if values.ndim == 3 and gray and values.dtype == np.uint8:
        values = values[..., :3].mean(-1).round().astype(np.uint8)
    if values.ndim != 2:
        raise UnsuitableFile(
            f'{path} has {values.shape[-1]} channels, not one with the number of the class in each '
            f'pixel{_way_out(values)}'
        )
    return values


def advise_loading(values: Mapping[Any, int] | None = None) -> str:
    """The setting that loads maps with other values, as a message tells it."""
    line = config_line('LoadSegmentationMap', **(dict(values=dict(values)) if values else {}))
    return f'load the maps by {line} in the place of LoadAnnotations, {EVERYWHERE}'


def advise_colors(colors: Mapping[Any, int]) -> str:
    """The setting that makes classes of colors, with what becomes of others."""
    return (
        f'{advise_loading(colors)}, with the number of the class of each color, or 255 to leave '
        'it out; a color that is not listed is an error, which names it'
    )


def load_mapped(
    path: str | Path, values: Values | None = None, backend_args: dict | None = None
) -> np.ndarray:
    """Read a map, and replace its values.

    Args:
        path: Of any storage that ``mmengine.fileio`` knows; an image, TIFF or ``.npy``.
        values: The new value of each value, or of each color written ``'#rrggbb'``. Values that it
            does not have stay, colors that it does not have are an error.
        backend_args: For ``mmengine.fileio.get``.

    Returns:
        ``(H, W)``, integers. Of three equal channels, one.

    Raises:
        DataError: If it cannot be read, has several channels, or a value that is no whole number.
    """
    new = dict(parse_value(value) for value in (values or {}).items())
    if colors := {key: number for key, number in new.items() if isinstance(key, str)}:
        rgb = _read(path, backend_args, rgb=True)
        if rgb.ndim != 3 or rgb.shape[-1] != 3:
            raise DataError(
                f'{path} has no colors, but values lists colors: it is an array; list its numbers'
            )
        return _numbers_of_colors(path, rgb, colors)
    old = _read(path, backend_args)
    if old.ndim == 3 and (old[..., 1:3] == old[..., :1]).all():
        old = old[..., 0]
    if old.ndim != 2:
        return load_segmentation_map(path, backend_args)  # raises
    if old.dtype.kind == 'f' and not ((abs(old) < _LARGEST).all() and (old == old.round()).all()):
        raise DataError(f'{path} has values that are no whole numbers: a class has a number')
    found = old.astype(np.int64)
    for value, number in new.items():
        found[old == value] = number
    return found


def parse_value(item: tuple[int | str, int | str]) -> tuple[int | str, int]:
    """An entry of ``values``, its key an int or a color in lower case; raises ValueError."""
    key, number = item
    text = str(key).lower()
    try:
        if text.startswith('#') and len(text) == 7:
            int(text[1:], 16)
            return text, int(number)
        return int(text), int(number)
    except ValueError:
        raise ValueError(
            f"{key}={number}: map a number, or a color written '#ff0000', to a number"
        ) from None


def _read(path: str | Path, backend_args: dict | None, rgb: bool = False) -> np.ndarray:
    try:
        content = fileio.get(path, backend_args=backend_args)
        try:
            with quiet_decoders():
                image = ImageOps.exif_transpose(open_pillow(io.BytesIO(content), MAX_PIXELS))
                return np.asarray(image.convert('RGB') if rgb else image)
        except UnsupportedImage:
            raise
        except Exception:  # Pillow knows neither .npy nor all TIFFs
            if not content.startswith((b'II', b'MM', b'\x93NUMPY')):
                raise
            array = decode(content, channels=(1, 3), max_pixels=MAX_PIXELS).array
            return array[..., 0] if array.shape[-1] == 1 else array
    except Exception as error:  # decoders raise everything
        reason = getattr(error, 'strerror', None)  # the text of an OSError has the path
        advice = '' if reason else ': save it anew, or take it out of the data'
        if isinstance(error, UnidentifiedImageError):  # its text has an address in memory
            reason = 'it is damaged, or no image'
        raise DataError(f'{path} cannot be read ({reason or error}){advice}') from error


def _way_out(values: np.ndarray) -> str:
    """What to do with a map of several channels, with its colors."""
    if values.shape[-1] >= 3 and (values[..., 1:3] == values[..., :1]).all():
        return f', but the same number three times: {advise_loading()}, which takes one of them'
    if values.dtype != np.uint8 or values.shape[-1] < 3:
        return ': save one channel'
    codes = np.unique(values[..., :3].astype(np.int64) @ np.array([1 << 16, 1 << 8, 1]))
    colors = [f'#{code:06x}' for code in codes.tolist()]
    if len(colors) > _MOST_COLORS:
        return (
            f', but {len(colors)} colors, such as {first_few(colors, 3, total=False)}: is it the '
            'map? If colors are classes, save it as PNG, without interpolation or losses'
        )
    numbers = {color: number for number, color in enumerate(colors)}
    return f'; if colors are classes, of which this map has {len(colors)}, {advise_colors(numbers)}'


def _numbers_of_colors(path: str | Path, rgb: np.ndarray, colors: dict[str, int]) -> np.ndarray:
    codes = rgb.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    there, index = np.unique(codes, return_inverse=True)
    if unknown := [code for code in (f'#{c:06x}' for c in there.tolist()) if code not in colors]:
        raise UnsuitableFile(
            f'{path} has colors that are in no class: {first_few(unknown)}; list them in values of '
            f'LoadSegmentationMap, {EVERYWHERE}, such as {unknown[0]!r}: 255 for what has no '
            'label'
        )
    return np.array([colors[f'#{c:06x}'] for c in there.tolist()])[index.reshape(codes.shape)]
