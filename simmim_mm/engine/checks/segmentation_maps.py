"""Segmentation maps of segmenters."""

import json
import os.path as osp
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
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
    Values,
    advise_colors,
    advise_loading,
    load_mapped,
    load_segmentation_map,
)
from simmim_mm.datasets.transforms import LoadSegmentationMap
from simmim_mm.engine.checks.images import read_once

_HEADS = (
    'in all data sets (with a color in metainfo.palette, if there is one), and set num_classes of '
    'the heads to'
)


def check_segmentation_maps(
    dataset: Any, sizes: Mapping[str, tuple[int, int]], trained: Collection[int] = ()
) -> set[int]:
    """Check names, sizes and values of the maps of a ``BaseSegDataset``.

    Args:
        dataset: It. Maps that neither mmseg's ``LoadAnnotations`` nor ``LoadSegmentationMap`` loads
            are looked for, not at.
        sizes: Height and width of the loaded images whose maps are read, by path.
        trained: Classes that occur in the maps of the training, whose numbers are no advice for
            other values of the validation.

    Returns:
        The classes that occur, by their number.

    Raises:
        DataError: If a map is missing, does not fit its image, or has values that are no class.
    """
    classes, ignored = dataset.metainfo['classes'], dataset.ignore_index
    pairs = [dataset.get_data_info(i) for i in range(len(dataset))]
    missing = [p for p in pairs if not osp.isfile(p['seg_map_path'])]
    if missing:
        first = missing[0]
        raise DataError(
            f'{len(missing)} of {len(pairs)} images have no segmentation map: there is no '
            f'{first["seg_map_path"]} for {first["img_path"]}; maps are named as their images, '
            f'with seg_map_suffix ({dataset.seg_map_suffix!r}): correct names or suffix, add the '
            'maps, or take images without one out of the data'
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
    return _check_values(found, dataset, ignored, trained)


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
                colors: dict[str, int] = {}
                for number, rgb in (pair for look in found.values() for pair in look['palette']):
                    colors.setdefault('#' + bytes(rgb).hex(), number)
                MMLogger.get_current_instance().warning(
                    f'The value {value} has the color #{bytes(other).hex()} in {other_path}, and '
                    f'#{bytes(color).hex()} in {path}: if classes are colors, not values, '
                    f'{advise_colors(colors)}'
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
                "has an EXIF orientation, which mmseg's LoadAnnotations does not apply: "
                f'{advise_loading()}, which turns them upright'
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


def _check_values(
    found: Mapping[str, dict[str, Any]], dataset: Any, ignored: int, trained: Collection[int]
) -> set[int]:
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
            f'{_advice(seen, path, classes, ignored, skips_zero, trained)}'
        )
    labeled = {v for v in seen if v != ignored and not (skips_zero and v == 0)}
    if len(labeled) < 2 <= len(classes) and found:
        hint = f' If 255 is the class 1, {advise_loading({255: 1})}' if 255 in seen else ''
        raise DataError(
            f'the maps of {osp.dirname(next(iter(found)))} have only the values {sorted(seen)}, '
            f'and {ignored} is left out of training and scoring: give each pixel the number of '
            f'its class, 0 to {number - 1}.{hint}'
        )
    tell_palettes(found)
    labels = dataset.label_map or {v: v - skips_zero for v in labeled}
    return {labels[v] for v in labeled if v in labels}


def _advice(
    seen: Collection[int],
    path: str,
    classes: Sequence[str],
    ignored: int,
    skips: bool,
    trained: Collection[int],
) -> str:
    """What may be meant by values that are no classes."""
    count, first = len(classes), int(skips)
    used = sorted(v for v in seen if v != ignored)
    beyond = [v for v in used if not 0 <= v < count + first]
    text = f'In all maps of this data set together there are the values {first_few(used, 10)}'
    zero = (
        'set reduce_zero_label=True in train_dataloader.dataset, val_dataloader.dataset and '
        'test_dataloader.dataset: 0 is then left out, and 1 becomes the first class'
    )
    if path.lower().endswith(('.jpg', '.jpeg')):
        return 'JPEG changes values: save maps as PNG'
    if used == list(range(1, count + 1)) and not skips:
        return (
            f'{text}, without 0: if 1 is the first class, {zero}; if 0 is the first class, which '
            f'happens to occur in no map, {_add_classes(beyond, count, first)}'
        )
    if used == list(range(count + 1)) and not skips:
        return (
            f'{text}, one more than classes: if 0 stands for what is not labeled, '
            f'{zero}; if 0 is a class, too, such as a background, list it first in '
            f'metainfo.classes {_HEADS} {count + 1}'
        )
    if len(used) > 3 * count:
        return (
            f'{text}: were the maps resized with interpolation, or saved with losses? '
            'Then make them again with nearest-neighbor interpolation, saved as PNG. If each of '
            f'these values is a class, list all {len(used)} in metainfo.classes {_HEADS} '
            f'{len(used)}; the next start tells how to number them'
        )
    labeled = [v for v in used if v or not skips]
    values = {old: new for new, old in enumerate(labeled, first) if old != new}
    taken = sorted({v - first for v in values.values()} & {*trained})
    ignore = dict.fromkeys(beyond, 255)
    if len(labeled) == count:
        if not taken:
            line = config_line('LoadSegmentationMap', values=ignore)
            text = f'{text}: if they are the classes in their order, {advise_loading(values)}'
            return f'{text}; to leave out the pixels of those that are no class, {line} there'
        names = first_few(f'{i + first} ({classes[i]!r})' for i in taken)
        text = (
            f'{text}, and those of the training have {names}, too: if {first_few(beyond)} means '
            'that here, make the maps of this data set anew, with the values of the training'
        )
    which = 'they are classes' if len(beyond) > 1 else 'it is a class'
    add = _add_classes(beyond, count, first)
    return (
        f'{text}. To leave out the pixels of {first_few(beyond)}, {advise_loading(ignore)}; '
        f'if {which} that metainfo.classes does not list, {add}'
    )


def _add_classes(beyond: Sequence[int], count: int, first: int) -> str:
    """How values become classes that follow those that are listed."""
    values = {old: new for new, old in enumerate(beyond, count + first) if old != new}
    number, whole = len(beyond), count + len(beyond)
    what = 'a class' if number == 1 else f'{number} classes'
    text = f'add {what} at the end of metainfo.classes {_HEADS} {whole}'
    line = config_line('LoadSegmentationMap', values=values)
    return f'{text}; then load the maps by {line}, in all pipelines, too' if values else text
