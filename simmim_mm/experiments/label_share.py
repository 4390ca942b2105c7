"""A fraction of the training labels, with an equal fraction of each class."""

from collections import Counter
from collections.abc import Iterable, Sequence
from copy import deepcopy
from math import ceil
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from simmim_mm.datasets.errors import DataError
from simmim_mm.datasets.image_dataset import single_datasets
from simmim_mm.datasets.readers.segmentation_maps import Values, load_mapped


def take_share(configs: Sequence[Config], share: float, seed: int = 0) -> str:
    """Let trainings use a fraction of their labeled images, the same in all of them.

    It is set as ``indices`` of the training data set.

    Args:
        configs: Of trainings on one data set.
        share: Above 0, at most 1.
        seed: Of the choice. Smaller shares are parts of larger ones with the same seed.

    Returns:
        What was chosen, for the user.

    Raises:
        DataError: If ``share`` is out of range, the training data are not one data set of
            mmpretrain, mmdet or mmseg, or ``indices`` are set.
    """
    if not 0 < share <= 1:
        raise DataError(f'the label share must be above 0 and at most 1, got {share:g}')
    init_default_scope(configs[0].get('default_scope') or 'simmim_mm')
    parts = [[p for _, p in single_datasets(c.train_dataloader.dataset)] for c in configs]
    if len(parts[0]) != 1 or parts[0][0].get('indices') is not None:
        raise DataError('a label share is taken of a single training data set without indices')
    dataset = DATASETS.build(dict(deepcopy(parts[0][0]), pipeline=[]))
    dataset.full_init()
    steps = {step['type'].rpartition('.')[2]: step for step in parts[0][0].get('pipeline') or ()}
    values = steps.get('LoadSegmentationMap', {}).get('values')
    present = [classes_of(dataset.get_data_info(i), values) for i in range(len(dataset))]
    indices = choose(present, share, seed)
    for (part,) in parts:
        part.indices = indices
    names = dataset.metainfo.get('classes') or ()
    counts = Counter(label for i in indices for label in present[i])
    shown = ', '.join(
        f'{names[label] if label < len(names) else label} {counts[label]}'
        for label in sorted(counts)
    )
    return (
        f'{len(indices)} of {len(present)} training images are used, the same by every start '
        f'(label share {share:g}); images with each class: {shown}'
    )


def classes_of(info: dict[str, Any], values: Values | None = None) -> set[int]:
    """Classes that an image of mmpretrain, mmdet or mmseg has; ``values`` are those of its map."""
    if 'gt_label' in info:
        return set(np.ravel(info['gt_label']).tolist())
    if 'instances' in info:
        return {instance['bbox_label'] for instance in info['instances']}
    if 'seg_map_path' in info:
        ignored = 255
        return set(np.unique(load_mapped(info['seg_map_path'], values)).tolist()) - {ignored}
    raise DataError(f'a label share needs labels; the images have {", ".join(info)}')


def choose(present: Sequence[Iterable[int]], share: float, seed: int) -> list[int]:
    """Indices of a share of the images, sorted; of each class that share, rounded up.

    An image with several classes is counted for the one that the fewest images have.

    Args:
        present: Classes of each image; without any, images are a class of their own.
        share: Above 0, at most 1.
        seed: Of the choice.
    """
    images = Counter(label for labels in present for label in set(labels))
    strata = [min(set(labels), key=lambda x: (images[x], x), default=-1) for labels in present]
    order = np.random.default_rng(seed).permutation(len(present))
    chosen: list[int] = []
    for stratum in set(strata):
        members = [int(i) for i in order if strata[i] == stratum]
        chosen += members[: ceil(share * len(members) - 1e-9)]
    return sorted(chosen)
