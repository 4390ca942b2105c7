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

from simmim_mm._text import config_line
from simmim_mm.datasets.decode import open_pillow, quiet_decoders
from simmim_mm.datasets.errors import DataError, UnsuitableFile, first_few
from simmim_mm.datasets.readers.segmentation_maps import (
    OF_COLORS,
    Values,
    load_mapped,
    load_segmentation_map,
)
from simmim_mm.datasets.transforms import LoadSegmentationMap
from simmim_mm.engine.checks.images import read_once

_LOAD = 'load the maps by {} in the place of LoadAnnotations, in all pipelines'


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
    both = [(p['seg_map_path'], list(sizes[p['img_path']])) for p in pairs]
    if others := [(path, size) for path, size in both if found[path]['size'] != size]:
        path, (height, width) = others[0]
        map_height, map_width = found[path]['size']
        raise DataError(
            f'{len(others)} of {len(both)} segmentation maps are not of the size of their image: '
            f'{path} is of {map_width}x{map_height} pixels, its image of {width}x{height}: resize '
            'such maps with nearest-neighbor interpolation, or correct the names that pair them'
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
                    f'{tuple(color)} in {path}: if classes are colors, not values, load the maps '
                    f'by {OF_COLORS} in the place of LoadAnnotations, with all of their colors'
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
            raise UnsuitableFile(
                "has an EXIF orientation, which mmseg's LoadAnnotations does not apply: load "
                f'maps by {config_line("LoadSegmentationMap")} in its place, in all '
                'pipelines, which turns them upright'
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
            f'{len(spoiled)} of {len(found)} segmentation maps have values that are no class, such '
            f'as {path}: {first_few(wrong)} ({fraction:.1%} of its pixels). The {len(classes)} '
            f'classes of the config are the values {int(skips_zero)} to {number - 1}; {ignored}'
            f'{" and 0 are" if skips_zero else " is"} left out. '
            f'{_advice(seen, path, len(classes), ignored, skips_zero)}'
        )
    labeled = {v for v in seen if v != ignored and not (skips_zero and v == 0)}
    if len(labeled) < 2 <= len(classes) and found:
        line = config_line('LoadSegmentationMap', values={255: 1})
        hint = f' If 255 is the class 1, {_LOAD.format(line)}' if 255 in seen else ''
        raise DataError(
            f'the maps of {osp.dirname(next(iter(found)))} have only the values {sorted(seen)}, '
            f'and {ignored} is left out of training and scoring: give each pixel the number of '
            f'its class, 0 to {number - 1}.{hint}'
        )
    tell_palettes(found)
    labels = dataset.label_map or {v: v - skips_zero for v in labeled}
    return {labels[v] for v in labeled if v in labels}


def _advice(seen: Mapping[int, int], path: str, classes: int, ignored: int, skips: bool) -> str:
    """What may be meant by values that are no classes."""
    used = sorted(v for v in seen if v != ignored)

    def load(values: dict[int, int]) -> str:
        return _LOAD.format(config_line('LoadSegmentationMap', values=values))

    left_out = {v: 255 for v in used if v < 0 or v >= classes + skips}
    all_values = f'In all maps of this data set together there are the values {first_few(used, 10)}'
    zero = (
        'set reduce_zero_label=True in train_dataloader.dataset, val_dataloader.dataset and '
        'test_dataloader.dataset: 0 is then left out, and 1 becomes the first class'
    )
    if path.lower().endswith(('.jpg', '.jpeg')):
        return 'JPEG changes values: save maps as PNG'
    if used == list(range(1, classes + 1)) and not skips:
        return f'{all_values}, without 0: if 1 is the first class, {zero}'
    if used == list(range(classes + 1)) and not skips:
        return (
            f'{all_values}, one more than classes: if 0 stands for what is not labeled, '
            f'{zero}; if 0 is a class, too, such as a background, list it first in '
            f'metainfo.classes and set num_classes of the heads to {classes + 1}'
        )
    if len(used) == classes:
        values = {old: new for new, old in enumerate(used) if old != new}
        text = f'{all_values}: if they are the classes in their order, {load(values)}'
        line = config_line('LoadSegmentationMap', values=left_out)
        return f'{text}; to leave out the pixels of those that are no class, {line} there'
    if len(used) > 3 * classes:
        return (
            f'{all_values}: were the maps resized with interpolation, or saved with losses? '
            'Then make them again with nearest-neighbor interpolation, saved as PNG; if not, list '
            'all classes in metainfo.classes'
        )
    rest = load(left_out)
    return f'{all_values}: list all classes in metainfo.classes, or, to leave these out, {rest}'
