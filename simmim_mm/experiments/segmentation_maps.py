"""Segmentation data: a folder of images and one of segmentation maps."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from simmim_mm.datasets.errors import DataError, first_few
from simmim_mm.datasets.readers.segmentation_maps import Values
from simmim_mm.engine.checks.segmentation_maps import read_maps, tell_palettes
from simmim_mm.experiments.labeled_data import (
    IMAGE_SUFFIXES,
    LabeledData,
    Split,
    existing,
    first_existing,
)

IGNORED = 255  # mmseg's
_SUFFIXES = ('.png', '.tif', '.tiff')  # of maps, in the order in which they are looked for
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
    classes: Sequence[str] | None = None,
    ignored: int = IGNORED,
    values: Values | None = None,
) -> LabeledData:
    """Look through all maps.

    The classes are the values of the training's maps, in their order: where these have gaps or do
    not begin at 0, they are mapped on loading. A note says so.

    Args:
        train: Folders of images and maps.
        val: The same.
        classes: Their names, in the order of the values; None: made from the values.
        ignored: Value of pixels that are not labeled.
        values: New values of some values or colors, before all else.

    Raises:
        DataError: If an image has no map, a map cannot be read or is no image of one channel, a
            value is in no class, or there are fewer than two classes.
    """
    images, maps = zip(*(_files(split) for split in (train, val)))
    found = read_maps([str(path) for path in maps[0] + maps[1]], values)
    tell_palettes(found)
    used = sorted(
        {value for path in maps[0] for value, _ in found[str(path)]['values']} - {ignored}
    )
    numbers = _classes(used, classes, ignored)
    for path in maps[0] + maps[1]:
        there = [value for value, _ in found[str(path)]['values']]
        if wrong := [value for value in there if value not in numbers and value != ignored]:
            raise DataError(
                f'{path} has the value {wrong[0]}, which is no class of {_listed(numbers)}, and '
                f'{ignored} is left out: name all classes with --classes, or say what it is with '
                f'--values {wrong[0]}=ignore or a class'
            )
    if len(used) < 2:
        raise DataError(
            f'the segmentation maps in {train.labels} have {len(used)} classes: their values are '
            f'{used}, and {ignored} is left out. Two classes are 0 and 1: change the value that is '
            'left out with --ignore-value, or map values, such as --values 255=1'
        )
    suffixes = []
    for paths, what in ((images, 'images'), (maps, 'maps')):
        endings = sorted({path.suffix for path in paths[0] + paths[1]})
        if len(endings) > 1:
            raise DataError(f'{what} of several endings ({", ".join(endings)}): mmseg reads one')
        suffixes.append(endings[0])
    new: dict[int | str, int] = {old: number for old, number in numbers.items() if old != number}
    text = f'Values of the maps become classes: {_listed(numbers)}; {ignored} is left out.'
    notes = [text] if new else []
    if ignored != IGNORED:
        new[ignored] = IGNORED
    names = tuple(classes or (f'class_{value}' for value in numbers))
    counts = (len(images[0]), len(images[1]))
    new.update({old: new.get(value, value) for old, value in (values or {}).items()})
    endings = (suffixes[0], suffixes[1])
    return LabeledData(names, train, val, counts, endings, notes=notes, values=new)


def _classes(used: Sequence[int], names: Sequence[str] | None, ignored: int) -> dict[int, int]:
    """The class of each value; ``used`` are those of the training's maps, sorted."""
    if used and (used[0] < 0 or IGNORED in used):
        value = used[0] if used[0] < 0 else IGNORED
        raise DataError(
            f'maps have the value {value}, and {ignored} is left out: say which class it is, or '
            f'that it is left out as well, with --values {value}=1 or --values {value}=ignore'
        )
    if names is None or len(names) == len(used):
        return {value: number for number, value in enumerate(used)}
    first = int(ignored == 0)
    return {value + first: value for value in range(len(names))}


def _listed(numbers: Mapping[int, int]) -> str:
    pairs = numbers.items()
    return first_few((f'{old} -> {new}' if old != new else str(old) for old, new in pairs), 20)


def _files(split: Split) -> tuple[list[Path], list[Path]]:
    """Images, and the map of each, of the same name."""
    images = sorted(p for p in split.images.rglob('*') if p.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        raise DataError(f'no image in {split.images}')
    bare = [split.labels / image.relative_to(split.images) for image in images]
    suffix = next((s for s in _SUFFIXES if bare[0].with_suffix(s).is_file()), _SUFFIXES[0])
    maps = [path.with_suffix(suffix) for path in bare]
    if missing := [path for path in maps if not path.is_file()]:
        raise DataError(
            f'{len(missing)} of {len(images)} images in {split.images} have no segmentation map, a '
            f'PNG or TIFF of the same name in {split.labels}: {first_few(missing, 3)}'
        )
    return images, maps
