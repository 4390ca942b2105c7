"""Segmentation data: a folder of images and one of segmentation maps."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from simmim_mm.datasets.errors import DataError, first_few
from simmim_mm.datasets.readers.segmentation_maps import load_segmentation_map
from simmim_mm.experiments.labeled_data import (
    IMAGE_SUFFIXES,
    LabeledData,
    Split,
    existing,
    first_existing,
)

IGNORED = 255  # mmseg's
_IMAGES = ('img_dir/{}', 'images/{}', 'images/{}*', '{}/images', '{}/img')
_MAPS = (
    *('ann_dir/{}', 'annotations/{}', 'annotations/{}*', 'semantic/{}', 'labels/{}', 'masks/{}'),
    *('{}/labels', '{}/masks', '{}/annotations'),
)


def find_segmentation_maps(root: str | Path) -> tuple[Split, Split]:
    """Find the folders by the usual names, mmseg's ``img_dir`` and ``ann_dir`` first.

    Raises:
        DataError: If one is not found.
    """
    root = existing(Path(root), 'data folder')
    splits = []
    for part in ('train', 'val'):
        images, maps = ([name.format(part) for name in names] for names in (_IMAGES, _MAPS))
        splits.append(
            Split(
                first_existing(root, images, f'images of the {part} part', '--config'),
                first_existing(root, maps, f'segmentation maps of the {part} part', '--config'),
            )
        )
    return splits[0], splits[1]


def read_segmentation_maps(
    train: Split,
    val: Split,
    folder: str | Path,
    classes: Sequence[str] | None = None,
    ignored: int = IGNORED,
) -> LabeledData:
    """Look through all maps.

    Args:
        folder: Where copies of the maps are written if ``ignored`` is not 255.
        classes: Names of the values 0, 1, ...; None: as many as the training's maps have.
        ignored: Value of pixels that are not labeled.

    Raises:
        DataError: If an image has no map, a map is no image of one channel, a value is beyond the
            classes, or there are fewer than two classes.
    """
    images, maps = zip(*(_files(split) for split in (train, val)))
    with ThreadPoolExecutor() as pool:
        read = [list(pool.map(_values, paths)) for paths in maps]
    used = set().union(*read[0]) - {ignored}
    num_classes = len(classes) if classes else 1 + max(used, default=0)
    limit = f'{num_classes} classes are given'
    if not classes:
        limit = f'the maps to train on end at {num_classes - 1}'
    for values, path in zip(read[0] + read[1], maps[0] + maps[1]):
        if wrong := sorted(v for v in values if v >= num_classes and v != ignored):
            raise DataError(
                f'{path} has the value {wrong[0]}, but {limit} and {ignored} is left out: name all '
                'classes, or give the value that is to be left out with --ignore-value'
            )
    if len(used) < 2:
        raise DataError(
            f'the segmentation maps in {train.labels} have {len(used)} classes: their values are '
            f'{sorted(set().union(*read[0]))}, and {ignored} is left out. Two classes are 0 and 1'
        )
    endings = sorted({image.suffix for image in images[0] + images[1]})
    if len(endings) > 1:
        raise DataError(f'images of several endings ({", ".join(endings)}): mmseg reads one')
    notes = []
    if ignored != IGNORED:
        train, val = (
            _with_255(split, paths, Path(folder) / part, ignored)
            for split, paths, part in zip((train, val), maps, ('train', 'val'))
        )
        notes.append(f'Using copies of the maps with 255 for {ignored}, in {folder}.')
    names = tuple(classes) if classes else tuple(f'class_{i}' for i in range(num_classes))
    counts = (len(images[0]), len(images[1]))
    return LabeledData(names, train, val, counts, (endings[0], '.png'), notes=notes)


def _files(split: Split) -> tuple[list[Path], list[Path]]:
    """Images, and the map of each, a PNG of the same name."""
    images = sorted(p for p in split.images.rglob('*') if p.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        raise DataError(f'no image in {split.images}')
    maps = [split.labels / image.relative_to(split.images).with_suffix('.png') for image in images]
    if missing := [path for path in maps if not path.is_file()]:
        raise DataError(
            f'{len(missing)} of {len(images)} images in {split.images} have no segmentation map, a '
            f'PNG of the same name in {split.labels}: {first_few(missing, 3)}'
        )
    return images, maps


def _values(path: Path) -> set[int]:
    return set(np.unique(load_segmentation_map(path)).tolist())


def _with_255(split: Split, maps: Sequence[Path], folder: Path, ignored: int) -> Split:
    """The split with copies of its maps, in which the value to be left out is mmseg's."""
    for path in maps:
        target = folder / path.relative_to(split.labels)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            labels = load_segmentation_map(path).astype(np.uint8)
            Image.fromarray(np.where(labels == ignored, np.uint8(IGNORED), labels)).save(target)
    return Split(split.images, folder)
