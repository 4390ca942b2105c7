"""Segmentation maps of segmenters."""

import os.path as osp
from collections.abc import Mapping
from typing import Any

import numpy as np

from simmim_mm.datasets.errors import DataError, first_few
from simmim_mm.datasets.readers.segmentation_maps import load_segmentation_map


def check_segmentation_maps(dataset: Any, sizes: Mapping[str, tuple[int, int]]) -> None:
    """Check names, sizes and values of the maps of a ``BaseSegDataset``.

    Args:
        dataset: It.
        sizes: Height and width of the loaded images whose maps are read, by path.

    Raises:
        DataError: If a map is missing, does not fit its image, or has values that are no class.
    """
    classes, ignored = dataset.metainfo['classes'], dataset.ignore_index
    pairs = [dataset.get_data_info(i) for i in range(len(dataset))]
    missing = [p['seg_map_path'] for p in pairs if not osp.isfile(p['seg_map_path'])]
    if missing:
        raise DataError(
            f'images without a segmentation map: {first_few(missing, 3)}; name the maps as the '
            f'images, with seg_map_suffix ({dataset.seg_map_suffix!r})'
        )
    # Values that a map may have, from 0.
    number = len(dataset.label_map or classes) + bool(dataset.reduce_zero_label)
    seen: set[int] = set()
    for pair in pairs:
        if pair['img_path'] not in sizes:
            continue
        path = pair['seg_map_path']
        pixels = load_segmentation_map(path)
        height, width = sizes[pair['img_path']]
        if pixels.shape != (height, width):
            raise DataError(
                f'{path} is of {pixels.shape[1]}x{pixels.shape[0]} pixels, its image of '
                f'{width}x{height}'
            )
        values, counts = np.unique(pixels, return_counts=True)
        wrong = [int(v) for v in values if v >= number and v != ignored]
        if wrong:
            fraction = counts[np.isin(values, wrong)].sum() / pixels.size
            raise DataError(
                f'{path} has the values {first_few(wrong)} ({fraction:.1%} of its pixels), but the '
                f'config has {len(classes)} classes: the values 0 to {number - 1}, and {ignored} '
                f'for pixels to leave out; list more classes, or change the maps'
            )
        seen.update(values.tolist())
    if len(classes) > 1 and len(seen - {ignored}) < 2:
        raise DataError(
            f'the maps of {osp.dirname(pairs[0]["seg_map_path"])} have only the values '
            f'{sorted(seen)}, of which {ignored} is left out: give each pixel the number of its '
            f'class, 0 to {number - 1}'
        )
