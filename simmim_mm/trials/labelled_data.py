"""What labelled data hold, and whether a training can use them, told before it starts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Union

from simmim_mm.datasets.errors import DataError

# What mmpretrain's CustomDataset takes for an image.
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif')


class Split(NamedTuple):
    """Where the training or the validation part lies.

    Attributes:
        images: Folder.
        labels: COCO json, or folder of label maps; the images' folder where folders are classes.
    """

    images: Path
    labels: Path


@dataclass
class LabelledData:
    """Labelled data that have been looked through.

    Attributes:
        classes: Names, in the order of the labels.
        num_images: Of training and validation.
        suffixes: Endings of images and label maps, of segmentation.
        with_masks: Whether every object has a mask, of detection.
    """

    classes: tuple[str, ...]
    train: Split
    val: Split
    num_images: tuple[int, int]
    suffixes: tuple[str, str] = ('', '')
    with_masks: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def paths(self) -> list[Path]:
        """Every file and folder that a training reads."""
        return list(dict.fromkeys([*self.train, *self.val]))

    def __str__(self) -> str:
        shown = ', '.join(self.classes[:10]) + (', ...' if len(self.classes) > 10 else '')
        train, val = self.num_images
        classes = f'{len(self.classes)} class{"es" if len(self.classes) > 1 else ""}'
        return f'{train} images to train, {val} to validate, {classes} ({shown})'


def existing(path: Path, what: str) -> Path:
    """The path.

    Raises:
        DataError: If it does not exist; ``what`` says what it would have been.
    """
    if not path.exists():
        raise DataError(f'no {what}: {path} does not exist')
    return path


def first_existing(root: Path, names: Sequence[str], what: str, option: str) -> Path:
    """The first of ``names``, which may be patterns, that there is below ``root``.

    Raises:
        DataError: If there is none.
    """
    for name in names:
        if found := sorted(root.glob(name)):
            return found[0]
    tried = ', '.join(names)
    raise DataError(f'no {what} in {root} (looked for {tried}): give it with {option}')


def read_class_folders(root: Union[str, Path]) -> LabelledData:
    """Look at ``root/train/<class>/*`` and ``root/val/<class>/*``, the layout of ImageNet.

    Raises:
        DataError: If a folder is missing or empty, there are fewer than two classes, or the classes
            of training and validation differ.
    """
    root = existing(Path(root), 'data folder')
    counts = {part: _count_images(existing(root / part, f'{part} folder')) for part in _PARTS}
    for part, other in (_PARTS, _PARTS[::-1]):
        # mmpretrain numbers the folders of each part by themselves: labels would not agree.
        if alone := sorted(set(counts[part]) - set(counts[other])):
            raise DataError(
                f'{root / part} has classes that {root / other} has not: {_listed(alone)}; both '
                'need the same folders'
            )
        if empty := sorted(name for name, count in counts[part].items() if not count):
            raise DataError(f'no image in {_listed([str(root / part / name) for name in empty])}')
    classes = tuple(sorted(counts['train']))
    if len(classes) < 2:
        raise DataError(
            f'{root}/train has {len(classes)} folders of classes: at least 2 are needed'
        )
    splits = [Split(root / part, root / part) for part in _PARTS]
    return LabelledData(classes, *splits, tuple(sum(counts[part].values()) for part in _PARTS))


_PARTS = ('train', 'val')


def _count_images(folder: Path) -> dict[str, int]:
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    return {
        path.name: sum(file.suffix.lower() in IMAGE_SUFFIXES for file in path.rglob('*'))
        for path in classes
    }


def _listed(names: Sequence[str], most: int = 5) -> str:
    rest = len(names) - most
    return ', '.join(names[:most]) + (f' and {rest} more' if rest > 0 else '')


__all__ = ['LabelledData', 'Split', 'existing', 'first_existing', 'read_class_folders']
