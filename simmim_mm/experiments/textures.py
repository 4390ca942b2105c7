"""Generated images of textures, in folders by their kind; pixels alone do not tell it.

Angle, period, place, colors and light are random, so that neighbors in pixels are of any class. See
:func:`write_textures`.
"""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from simmim_mm.datasets.errors import DataError

KINDS = ('dots', 'checks', 'stripes', 'grid', 'waves', 'rings', 'zigzag', 'blotches')
_SPLITS = ('train', 'val', 'unlabeled')
_RECORD = 'textures.json'


def write_textures(
    out: str | Path,
    train: int = 1600,
    val: int = 800,
    unlabeled: int = 8000,
    size: int = 32,
    seed: int = 0,
    tick: Callable[[], None] | None = None,
) -> None:
    """Write a data set; equal arguments give equal bytes.

    ::

        out/{train,val}/<kind>/*.png    kinds in turn
        out/unlabeled/*.png             kinds in turn, nothing known
        out/textures.json               these arguments; written last

    Where ``out`` already holds the same data, nothing is done.

    Args:
        train, val, unlabeled: Numbers of images.
        size: Height and width in pixels.
        tick: Called after each image.

    Raises:
        DataError: If ``out`` holds other files.
    """
    out = Path(out)
    counts = dict(train=train, val=val, unlabeled=unlabeled)
    record = json.dumps(dict(counts, size=size, seed=seed), indent=1)
    if (out / _RECORD).is_file() and (out / _RECORD).read_text() == record:
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f'{out} holds other files: choose a new folder, or remove this one')
    for split, count in counts.items():
        for i in range(count):
            kind = i % len(KINDS)
            folder = out / split if split == 'unlabeled' else out / split / KINDS[kind]
            folder.mkdir(parents=True, exist_ok=True)
            image = draw_texture(np.random.default_rng([seed, _SPLITS.index(split), i]), size, kind)
            if not cv2.imwrite(str(folder / f'{i:06d}.png'), image):
                raise OSError(f'could not write {folder / f"{i:06d}.png"}')
            if tick is not None:
                tick()
    (out / _RECORD).write_text(record)


def draw_texture(rng: np.random.Generator, size: int, kind: int) -> np.ndarray:
    """An image ``(size, size, 3)`` uint8 of two colors, under an uneven light, with noise."""
    x, y = np.meshgrid(*(np.arange(size) - rng.uniform(0, size) for _ in range(2)))
    angle, period = rng.uniform(0, np.pi), size * rng.uniform(0.16, 0.34)
    u = 2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period
    v = 2 * np.pi * (y * np.cos(angle) - x * np.sin(angle)) / period
    patterns = dict(
        dots=lambda: np.sin(u) + np.sin(v) - 0.8,
        checks=lambda: np.sin(u) * np.sin(v),
        stripes=lambda: np.sin(u),
        grid=lambda: np.maximum(np.sin(u), np.sin(v)) - 0.7,
        waves=lambda: np.sin(u + 1.6 * np.sin(v)),
        rings=lambda: np.sin(2 * np.pi * np.hypot(x, y) / period),
        zigzag=lambda: np.sin(u + 2 * np.pi * np.abs((v / np.pi) % 2 - 1)),
        blotches=lambda: _smooth_noise(rng, size, max(2, int(1.6 * size / period))),
    )
    sign = np.where(patterns[KINDS[kind]]() > 0, 1.0, -1.0)[..., None]
    difference = rng.normal(size=3)
    difference *= rng.uniform(42, 102) / np.linalg.norm(difference)
    light = cv2.resize(rng.uniform(0.6, 1.4, (2, 2)), (size, size))[..., None]
    image = (rng.uniform(70, 185, 3) + difference * sign) * light
    return np.clip(image + rng.normal(0, 20, image.shape), 0, 255).astype(np.uint8)


def _smooth_noise(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    noise = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
    return cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
