"""Label maps of segmenters."""

import os.path as osp
from typing import Any

import mmcv
import numpy as np
from mmengine.registry import DATASETS

from simmim_mm.datasets.errors import DataError
from simmim_mm.engine.checks.common import folder_of, some

_MAX_MAPS = 200  # more are sampled


def check_label_maps(dataset: dict, classes: list[str], place: str) -> None:
    """Check folders, names, sizes and values of the label maps of one ``BaseSegDataset``."""
    folder = folder_of(dataset, 'img_path', place)
    folder_of(dataset, 'seg_map_path', place)
    built = DATASETS.build(dict(dataset, pipeline=[], lazy_init=False, serialize_data=False))
    if not len(built):
        raise DataError(
            f'{place}: {folder} holds no file that ends in {built.img_suffix!r}; set img_suffix'
        )
    maps = [built.get_data_info(i)['seg_map_path'] for i in range(len(built))]
    missing = [path for path in maps if not osp.isfile(path)]
    if missing:
        raise DataError(
            f'{place}: images without a label map: {some(missing, 3)}; name the maps as the '
            f'images, with seg_map_suffix ({built.seg_map_suffix!r})'
        )

    number, ignored = _number_of_values(built, classes), built.ignore_index
    seen: set[int] = set()
    for i in np.unique(np.linspace(0, len(maps) - 1, min(len(maps), _MAX_MAPS)).astype(int)):
        pixels = mmcv.imread(maps[i], flag='unchanged', backend='pillow')
        if pixels.ndim != 2:
            raise DataError(
                f'{place}: {maps[i]} has {pixels.shape[-1]} channels: a label map has one, with '
                'the number of its class in each pixel'
            )
        image = mmcv.imread(built.get_data_info(i)['img_path'], backend='pillow')
        if image.shape[:2] != pixels.shape:
            raise DataError(
                f'{place}: {maps[i]} is of {pixels.shape[1]}x{pixels.shape[0]} pixels, its '
                f'image of {image.shape[1]}x{image.shape[0]}'
            )
        values, counts = np.unique(pixels, return_counts=True)
        wrong = [int(v) for v in values if v >= number and v != ignored]
        if wrong:
            share = counts[np.isin(values, wrong)].sum() / pixels.size
            raise DataError(
                f'{place}: {maps[i]} has the values {some(wrong)} ({share:.1%} of its pixels), '
                f'but the config has {len(classes)} classes: the values 0 to {number - 1}, and '
                f'{ignored} for pixels to leave out; list more classes, or change the maps'
            )
        seen.update(values.tolist())
    if len(classes) > 1 and len(seen - {ignored}) < 2:
        raise DataError(
            f'{place}: the label maps of {osp.dirname(maps[0])} have only the values '
            f'{sorted(seen)}, of which {ignored} is left out: give each pixel the number of its '
            f'class, 0 to {number - 1}'
        )


def _number_of_values(dataset: Any, classes: list[str]) -> int:
    """Values that a label map may have, from 0."""
    known = len(dataset.label_map) if dataset.label_map else len(classes)
    return known + bool(dataset.reduce_zero_label)
