"""Generated images of textured shapes on textured grounds, labeled for every downstream task.

Outline and kind of texture tell the class, colors do not; objects are brighter than their ground.
See :func:`write_shapes`.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from simmim_mm.checkpoint.file_backend import AtomicLocalBackend
from simmim_mm.datasets.errors import DataError

CLASSES = ('circle', 'square', 'triangle', 'star')
_SPLITS = ('train', 'val', 'unlabeled')
_RECORD = 'shapes.json'


class Shape(NamedTuple):
    """One object of an image."""

    label: int  # index into CLASSES
    mask: np.ndarray  # (H, W) bool, its visible pixels


def write_shapes(
    out: str | Path,
    train: int = 60,
    val: int = 20,
    unlabeled: int = 100,
    size: int = 128,
    seed: int = 0,
    tick: Callable[[], None] | None = None,
) -> None:
    """Write a data set; equal arguments give equal bytes.

    ::

        out/images/{train,val}/*.png                      1 to 4 objects each, partly occluded
        out/annotations/instances_{train,val}.json        COCO: boxes and masks of what is visible
        out/semantic/{train,val}/*.png                    label maps: 0 background, 1.. = CLASSES
        out/classification/{train,val}/<class>/*.png      one object each, classes in turn
        out/unlabeled/*.png                              as images/, nothing known
        out/shapes.json                                   these arguments; written last

    Where ``out`` already holds the same data, nothing is done.

    Args:
        train: Number of images for training; so many in ``images`` and in ``classification`` each.
        val: The same number for validation.
        unlabeled: Number without labels.
        size: Height and width in pixels, at least 32.
        tick: Called after each image, ``2 * (train + val) + unlabeled`` times.

    Raises:
        DataError: If ``out`` holds other files, or a number makes no sense.
    """
    if size < 32 or min(train, val, unlabeled, seed) < 0:
        raise DataError(
            f'size must be at least 32 and no number negative, got size={size}, train={train}, '
            f'val={val}, unlabeled={unlabeled}, seed={seed}'
        )
    out = Path(out)
    counts = dict(train=train, val=val, unlabeled=unlabeled)
    record = json.dumps(dict(counts, size=size, seed=seed), indent=1)
    if (out / _RECORD).is_file() and (out / _RECORD).read_text() == record:
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f'{out} holds other files: choose a new folder, or remove this one')

    tick = tick or (lambda: None)
    for split, count in counts.items():
        folder = out / ('unlabeled' if split == 'unlabeled' else f'images/{split}')
        folder.mkdir(parents=True)
        images, annotations = [], []
        for i in range(count):
            name = f'{i:06d}.png'
            image, shapes = draw_scene(_rng(seed, split, 'scene', i), size)
            _write_png(folder / name, image)
            if split != 'unlabeled':
                images.append(dict(id=i, file_name=name, height=size, width=size))
                annotations += [_coco_annotation(i, shape) for shape in shapes]
                _write_png(out / 'semantic' / split / name, label_map(shapes, size))
            tick()
        if split == 'unlabeled':
            continue
        _write_coco(out / 'annotations' / f'instances_{split}.json', images, annotations)
        folders = [out / 'classification' / split / name for name in CLASSES]
        for folder in folders:
            folder.mkdir(parents=True)
        for i in range(count):
            label = i % len(CLASSES)
            image = draw_single(_rng(seed, split, 'single', i), size, label)
            _write_png(folders[label] / f'{i:06d}.png', image)
            tick()
    (out / _RECORD).write_text(record)


def draw_scene(rng: np.random.Generator, size: int) -> tuple[np.ndarray, list[Shape]]:
    """An image of one to four objects, of each of which at least a third is visible.

    Returns:
        ``(size, size, 3)`` uint8 BGR, and the objects from front to back.
    """
    covered = np.zeros((size, size), bool)
    shapes = []
    for _ in range(rng.integers(1, 5)):
        for _ in range(10):  # places, before this one is given up
            label = int(rng.integers(len(CLASSES)))
            whole = _outline(rng, size, label, radius=size * rng.uniform(0.11, 0.26))
            visible = whole & ~covered
            if visible.sum() >= max(whole.sum() / 3, 30):
                shapes.append(Shape(label, visible))
                covered |= whole
                break
    return _paint(rng, size, shapes), shapes


def draw_single(rng: np.random.Generator, size: int, label: int) -> np.ndarray:
    """An image ``(size, size, 3)`` uint8 BGR with one object."""
    mask = _outline(rng, size, label, radius=size * rng.uniform(0.2, 0.4))
    return _paint(rng, size, [Shape(label, mask)])


def label_map(shapes: list[Shape], size: int) -> np.ndarray:
    """``(size, size)`` uint8: 0 for the background, 1 + label for objects."""
    labels = np.zeros((size, size), np.uint8)
    for shape in shapes:
        labels[shape.mask] = 1 + shape.label
    return labels


def _rng(seed: int, split: str, kind: str, index: int) -> np.random.Generator:
    # each image has a generator of its own: more images change none of the others
    return np.random.default_rng([seed, _SPLITS.index(split), kind == 'single', index])


def _outline(rng: np.random.Generator, size: int, label: int, radius: float) -> np.ndarray:
    """Mask ``(size, size)`` of a shape at a random place and angle, mildly deformed."""
    corners = dict(circle=40, square=4, triangle=3, star=10)[CLASSES[label]]
    angles = 2 * np.pi * (np.arange(corners) / corners + rng.uniform())
    radii = np.full(corners, radius)
    if CLASSES[label] == 'star':
        radii[1::2] *= rng.uniform(0.38, 0.5)
    points = np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)
    points = points * (1, rng.uniform(0.75, 1))  # a mild squeeze, at an angle to the sides
    turn = rng.uniform(0, 2 * np.pi)
    points = points @ [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]
    room = 0.8 * radius  # the tips may leave the image
    points += rng.uniform(room, size - room, size=2)
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [np.rint(points * 16).astype(np.int32)], 1, shift=4)
    return mask.astype(bool)


def _paint(rng: np.random.Generator, size: int, shapes: list[Shape]) -> np.ndarray:
    """Ground and objects, each with its texture, under an uneven light."""
    ground = rng.uniform(20, 110, 3)
    image = _texture(rng, size, ground, kind=int(rng.integers(len(CLASSES))))
    for label, mask in shapes:
        color = rng.uniform(100, 235, 3)
        while (color - ground).max() < 80:  # or nobody could see it
            color = rng.uniform(100, 235, 3)
        alpha = cv2.GaussianBlur(mask.astype(np.float32), (3, 3), 0)[..., None]
        image += (_texture(rng, size, color, kind=label) - image) * alpha
    light = cv2.resize(rng.uniform(0.7, 1.2, (2, 2)), (size, size), interpolation=cv2.INTER_LINEAR)
    image = image * light[..., None] + rng.normal(0, 5, image.shape)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _texture(rng: np.random.Generator, size: int, color: np.ndarray, kind: int) -> np.ndarray:
    """``(size, size, 3)`` float: a random pattern between two shades around a color."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    angle, period = rng.uniform(0, np.pi), rng.uniform(4, 20)
    u = 2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period
    v = 2 * np.pi * (y * np.cos(angle) - x * np.sin(angle)) / period
    if kind == 0:  # dots
        pattern = np.where(np.sin(u) + np.sin(v) > 0.8, 1.0, -1.0)
    elif kind == 1:  # checks
        pattern = np.sign(np.sin(u) * np.sin(v))
    elif kind == 2:  # stripes
        pattern = np.sin(u + rng.uniform(0, 6))
    else:  # blotches
        cells = max(int(size / period), 2)
        pattern = cv2.resize(rng.uniform(-1.5, 1.5, (cells, cells)), (size, size))
    return color + rng.normal(0, 25, 3) * pattern[..., None]


def _coco_annotation(image_id: int, shape: Shape) -> dict:
    rows, columns = np.flatnonzero(shape.mask.any(1)), np.flatnonzero(shape.mask.any(0))
    top, left = int(rows[0]), int(columns[0])
    return dict(
        image_id=image_id,
        category_id=1 + shape.label,
        bbox=[left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
        area=int(shape.mask.sum()),
        iscrowd=0,
        # run lengths and not polygons: they hold holes and cut-off parts to the pixel
        segmentation=dict(size=list(shape.mask.shape), counts=_run_lengths(shape.mask)),
    )


def _run_lengths(mask: np.ndarray) -> list[int]:
    """COCO's uncompressed code: lengths of runs down the columns, beginning with zeros."""
    flat = np.concatenate([[False], mask.ravel(order='F')])
    edges = np.flatnonzero(np.diff(flat))
    return np.diff(np.concatenate([[0], edges, [mask.size]])).tolist()


def _write_coco(path: Path, images: list[dict], annotations: list[dict]) -> None:
    categories = [dict(id=1 + i, name=name) for i, name in enumerate(CLASSES)]
    annotations = [dict(id=1 + i, **annotation) for i, annotation in enumerate(annotations)]
    coco = dict(images=images, annotations=annotations, categories=categories)
    AtomicLocalBackend().put_text(json.dumps(coco), path)


def _write_png(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image):
        raise OSError(f'could not write {path}')
