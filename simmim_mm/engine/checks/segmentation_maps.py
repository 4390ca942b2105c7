"""Segmentation maps of segmenters."""

import json
import os.path as osp
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
from mmengine.logging import MMLogger
from PIL import ExifTags, UnidentifiedImageError

from simmim_mm.datasets.decode import open_pillow, quiet_decoders
from simmim_mm.datasets.errors import DataError, first_few
from simmim_mm.datasets.readers.segmentation_maps import (
    Values,
    load_mapped,
    load_segmentation_map,
)
from simmim_mm.datasets.transforms import LoadSegmentationMap
from simmim_mm.engine.checks.images import read_once


def check_segmentation_maps(dataset: Any, sizes: Mapping[str, tuple[int, int]]) -> set[int]:
    """Check names, sizes and values of the maps of a ``BaseSegDataset``.

    Args:
        dataset: It. Maps that neither mmseg's ``LoadAnnotations`` nor ``LoadSegmentationMap`` loads
            are looked for, not at.
        sizes: Height and width of the loaded images whose maps are read, by path.

    Returns:
        The classes that occur, by their number.

    Raises:
        DataError: If a map is missing, does not fit its image, or has values that are no class.
    """
    classes, ignored = dataset.metainfo['classes'], dataset.ignore_index
    pairs = [dataset.get_data_info(i) for i in range(len(dataset))]
    missing = [p['seg_map_path'] for p in pairs if not osp.isfile(p['seg_map_path'])]
    if missing:
        raise DataError(
            f'{len(missing)} of {len(pairs)} images are without a segmentation map: '
            f'{first_few(missing, 3)}; name the maps as the images, with seg_map_suffix '
            f'({dataset.seg_map_suffix!r})'
        )
    read = _reader(dataset.pipeline.transforms)
    if read is None:
        return set(range(len(classes)))
    pairs = [pair for pair in pairs if pair['img_path'] in sizes]
    found = read_maps([pair['seg_map_path'] for pair in pairs], *read)
    for pair in pairs:
        path, (height, width) = pair['seg_map_path'], sizes[pair['img_path']]
        if found[path]['size'] != [height, width]:
            map_height, map_width = found[path]['size']
            raise DataError(
                f'{path} is of {map_width}x{map_height} pixels, its image of {width}x{height}'
            )
    return _check_values(found, dataset, ignored)


def read_maps(
    paths: Sequence[str], values: Values | None, as_mmseg: bool = False
) -> dict[str, dict[str, Any]]:
    """Open maps, once; see :func:`read_once`.

    Args:
        paths: Of the maps.
        values: New values, see :func:`load_mapped`.
        as_mmseg: Read them as mmseg's ``LoadAnnotations`` does, instead.

    Returns:
        By path: ``size`` (height, width), ``values`` (pairs of value and number of pixels) and
        ``palette`` (pairs of value and color, of palette images).
    """
    key = json.dumps([str(values), as_mmseg])
    return read_once(paths, partial(_look, values=values, as_mmseg=as_mmseg), key, 'map')


def tell_palettes(found: Mapping[str, dict[str, Any]]) -> None:
    """Warn where a value has different colors in two maps: it may be different classes."""
    seen: dict[int, tuple[list[int], str]] = {}
    for path, look in found.items():
        for value, color in look['palette']:
            other, other_path = seen.setdefault(value, (color, path))
            if other != color:
                MMLogger.get_current_instance().warning(
                    f'The value {value} has the color {tuple(other)} in {other_path}, and '
                    f'{tuple(color)} in {path}: if their classes are their colors, load them with '
                    "simmim_mm.LoadSegmentationMap(values={'#ff0000': 1, ...})"
                )
                return


def _reader(steps: Sequence[Any]) -> tuple[Values | None, bool] | None:
    """Arguments of :func:`read_maps`."""
    for step in steps:
        if isinstance(step, LoadSegmentationMap):
            return step.values, False
        if type(step).__name__ == 'LoadAnnotations':
            return None, True
    return None


def _look(path: str, values: Values | None, as_mmseg: bool) -> dict[str, Any]:
    pixels = load_segmentation_map(path) if as_mmseg else load_mapped(path, values)
    numbers, counts = _count(pixels)
    palette: list[int] = []
    with suppress(UnidentifiedImageError), quiet_decoders(), open(path, 'rb') as file:
        image = open_pillow(file)
        orientation = ExifTags.Base.Orientation
        if as_mmseg and 'exif' in image.info and image.getexif().get(orientation, 1) != 1:
            raise DataError(
                "its EXIF orientation is not applied by mmseg's LoadAnnotations: use "
                'simmim_mm.LoadSegmentationMap'
            )
        palette = image.getpalette() or [] if image.mode == 'P' and not values else []
    colors = [(n, palette[3 * n : 3 * n + 3]) for n in numbers] if palette else []
    return dict(size=list(pixels.shape), values=list(zip(numbers, counts)), palette=colors)


def _count(pixels: np.ndarray) -> tuple[list[int], list[int]]:
    if pixels.dtype == np.uint8:  # much faster
        counts = np.bincount(pixels.ravel(), minlength=256)
        return np.flatnonzero(counts).tolist(), counts[counts > 0].tolist()
    numbers, counts = np.unique(pixels, return_counts=True)
    return [int(number) for number in numbers], counts.tolist()


def _check_values(found: Mapping[str, dict[str, Any]], dataset: Any, ignored: int) -> set[int]:
    classes, skips_zero = dataset.metainfo['classes'], bool(dataset.reduce_zero_label)
    number = len(dataset.label_map or classes) + skips_zero  # values that a map may have, from 0
    seen: Counter[int] = Counter()
    spoiled: dict[str, list[int]] = {}
    for path, look in found.items():
        seen.update(dict(look['values']))
        if wrong := [v for v, _ in look['values'] if not (0 <= v < number or v == ignored)]:
            spoiled[path] = wrong
    if spoiled:
        path, wrong = next(iter(spoiled.items()))
        fraction = sum(n for v, n in found[path]['values'] if v in wrong)
        fraction /= found[path]['size'][0] * found[path]['size'][1]
        raise DataError(
            f'{path} has the values {first_few(wrong)} ({fraction:.1%} of its pixels), and so have '
            f'{len(spoiled) - 1} other maps of {len(found)}, but the config has {len(classes)} '
            f'classes: the values 0 to {number - 1}, and {ignored} for pixels to leave out. '
            f'{_advice(seen, path, len(classes), ignored, skips_zero)}'
        )
    labeled = {v for v in seen if v != ignored and not (skips_zero and v == 0)}
    if len(labeled) < 2 <= len(classes) and found:
        hint = ' If it is a class: LoadSegmentationMap(values={255: 1})' if 255 in seen else ''
        raise DataError(
            f'the maps of {osp.dirname(next(iter(found)))} have only the values {sorted(seen)}, of '
            f'which {ignored} is left out: give each pixel the number of its class, 0 to '
            f'{number - 1}.{hint}'
        )
    tell_palettes(found)
    labels = dataset.label_map or {v: v - skips_zero for v in labeled}
    return {labels[v] for v in labeled if v in labels}


def _advice(seen: Mapping[int, int], path: str, classes: int, ignored: int, skips: bool) -> str:
    """What may be meant by values that are no classes."""
    used = sorted(v for v in seen if v != ignored)
    loader = (
        "load them with dict(type='simmim_mm.LoadSegmentationMap', values={}) in the place of "
        'LoadAnnotations'
    )
    if path.lower().endswith(('.jpg', '.jpeg')):
        return 'JPEG changes values: save maps as PNG'
    if used == list(range(1, classes + 1)) and not skips:
        return (
            'If 0 is not labeled and 1 is the first class: reduce_zero_label=True of the data set'
        )
    if used == list(range(classes + 1)) and not skips:
        return 'If 0 is not labeled: reduce_zero_label=True of the data set'
    if len(used) == classes:
        values = {old: new for new, old in enumerate(used) if old != new}
        return f'If they are the classes in their order, {loader.format(values)}'
    if len(used) > 3 * classes:
        return (
            f'{len(used)} values in all: were the maps resized, or saved with losses? If not, list '
            'all classes'
        )
    values = {v: 255 for v in used if v < 0 or v >= classes}
    return f'List all classes, or to leave these out, {loader.format(values)}'
