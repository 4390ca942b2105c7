"""Labeled data to train on: where they lie, and their classes.

Only what is needed to put them into a config is looked at here; the config is checked afterwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from simmim_mm.datasets.errors import DataError, first_few
from simmim_mm.datasets.image_folder import IMAGE_EXTENSIONS
from simmim_mm.datasets.readers.class_folders import load_class_folders

IMAGE_SUFFIXES = IMAGE_EXTENSIONS


class Split(NamedTuple):
    """Where the training or the validation part lies.

    Attributes:
        images: Folder.
        labels: COCO json, or folder of segmentation maps; the images' folder where folders are
            classes.
    """

    images: Path
    labels: Path


@dataclass
class LabeledData:
    """Labeled data that have been looked through.

    Attributes:
        classes: Names, in the order of the labels.
        num_images: Of training and validation.
        suffixes: Endings of images and segmentation maps.
        with_masks: Whether every object has a mask, of detection.
        notes: What was changed, for the user.
        values: New values of segmentation maps, see :class:`LoadSegmentationMap`.
    """

    classes: tuple[str, ...]
    train: Split
    val: Split
    num_images: tuple[int, int]
    suffixes: tuple[str, str] = ('', '')
    with_masks: bool = False
    notes: list[str] = field(default_factory=list)
    values: dict[int | str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        train, val = self.num_images
        classes = f'{len(self.classes)} class{"es" if len(self.classes) > 1 else ""}'
        shown = first_few(self.classes, 10)
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


def read_class_folders(root: str | Path) -> LabeledData:
    """Look at ``root/train/<class>/*`` and ``root/val/<class>/*``, the layout of ImageNet.

    Raises:
        DataError: If a folder is missing, there are fewer than two classes, or one has no image.
    """
    root = existing(Path(root), 'data folder')
    train, val = (existing(root / part, f'{part} folder') for part in ('train', 'val'))
    parts = [load_class_folders(folder, IMAGE_SUFFIXES) for folder in (train, val)]
    counts = (len(parts[0].paths), len(parts[1].paths))
    return LabeledData(parts[0].classes, Split(train, train), Split(val, val), counts)
