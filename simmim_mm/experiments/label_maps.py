"""Looking through segmentation data: a folder of images and one of label maps."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from simmim_mm.datasets.errors import DataError
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


def find_label_maps(root: str | Path) -> tuple[Split, Split]:
    """Find the folders by the usual names, mmseg's ``img_dir`` and ``ann_dir`` first.

    Raises:
        DataError: If one is not found.
    """
    root = existing(Path(root), 'data folder')
    splits = []
    for part in ('train', 'val'):
        found = []
        for what, patterns in (('images', _IMAGES), ('label maps', _MAPS)):
            names = [name.format(part) for name in patterns]
            found.append(first_existing(root, names, f'{what} of the {part} part', '--config'))
        splits.append(Split(*found))
    return splits[0], splits[1]


def read_label_maps(
    train: Split,
    val: Split,
    folder: str | Path,
    classes: Sequence[str] | None = None,
    ignored: int = IGNORED,
) -> LabeledData:
    """Look through all label maps.

    Args:
        folder: Where copies of the maps are written if ``ignored`` is not 255.
        classes: Names of the values 0, 1, ...; None = as many as the training's maps have.
        ignored: Value of pixels that are not labeled.

    Raises:
        DataError: If an image has no map, a map is no image of one channel, a value is beyond the
            classes, or there are fewer than two classes.
    """
    pairs = [_pairs(split) for split in (train, val)]
    read = []
    for found in pairs:
        with ThreadPoolExecutor() as pool:
            read.append(list(pool.map(_values, [path for _, path in found])))
    used = [sorted(set().union(*values) - {ignored}) for values in read]
    num_classes = len(classes) if classes else 1 + max(used[0], default=0)
    for values, found in zip(read, pairs):
        _check_values(values, [path for _, path in found], num_classes, ignored, bool(classes))
    if len(used[0]) < 2:
        raise DataError(
            f'the label maps in {train.labels} have {len(used[0])} classes: '
            f'their values are {sorted(set().union(*read[0]))}, and {ignored} is left out. Two '
            'classes are 0 and 1'
        )
    names = tuple(classes) if classes else tuple(f'class_{i}' for i in range(num_classes))
    suffixes = (_suffix(pairs[0] + pairs[1], 0), _suffix(pairs[0] + pairs[1], 1))
    notes = []
    if ignored != IGNORED:
        folders = [Path(folder) / part for part in ('train', 'val')]
        for split, found, target in zip((train, val), pairs, folders):
            _write_ignored([path for _, path in found], split.labels, target, ignored)
        train, val = (Split(split.images, new) for split, new in zip((train, val), folders))
        notes.append(f'Using copies of the label maps with 255 for {ignored}, in {folder}.')
    counts = (len(pairs[0]), len(pairs[1]))
    return LabeledData(names, train, val, counts, suffixes, notes=notes)


def _pairs(split: Split) -> list[tuple[Path, Path]]:
    """Every image with its map, which has the same name but for the ending."""
    images = sorted(p for p in split.images.rglob('*') if p.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        raise DataError(f'no image in {split.images}')
    maps = {p.relative_to(split.labels).with_suffix(''): p for p in split.labels.rglob('*.png')}
    stems = [image.relative_to(split.images).with_suffix('') for image in images]
    if missing := [str(stem) for stem in stems if stem not in maps]:
        raise DataError(
            f'{len(missing)} of {len(images)} images in {split.images} have no label map, a PNG of '
            f'the same name in {split.labels}; the first: {missing[0]}'
        )
    return [(image, maps[stem]) for image, stem in zip(images, stems)]


def _values(path: Path) -> set[int]:
    try:
        labels = np.asarray(Image.open(path))
    except OSError as error:
        raise DataError(f'{path} cannot be read: {error}') from None
    if labels.ndim != 2:
        raise DataError(
            f'{path} has {labels.shape[2]} channels: a label map has one, whose value is the '
            'number of the class'
        )
    return set(np.unique(labels).tolist())


def _check_values(
    read: Sequence[set], paths: Sequence[Path], num_classes: int, ignored: int, given: bool
) -> None:
    for values, path in zip(read, paths):
        if wrong := sorted(v for v in values if v >= num_classes and v != ignored):
            known = (
                f'{num_classes} classes are given'
                if given
                else f'the maps to train on end at {num_classes - 1}'
            )
            raise DataError(
                f'{path} has the value {wrong[0]}, but {known} and {ignored} is left out: name all '
                'classes, or give the value that is to be left out with --ignore-value'
            )


def _suffix(pairs: Sequence[tuple[Path, Path]], index: int) -> str:
    """The ending of all files; mmseg looks for one only."""
    endings = Counter(pair[index].suffix for pair in pairs)
    if len(endings) > 1:
        raise DataError(
            f'{pairs[0][index].parent} holds files of several endings '
            f'({", ".join(sorted(endings))}): mmseg reads one'
        )
    return next(iter(endings))


def _write_ignored(paths: Sequence[Path], source: Path, folder: Path, ignored: int) -> None:
    for path in paths:
        target = folder / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            labels = np.asarray(Image.open(path)).astype(np.uint8)
            Image.fromarray(np.where(labels == ignored, np.uint8(IGNORED), labels)).save(target)


__all__ = ['find_label_maps', 'read_label_maps']
