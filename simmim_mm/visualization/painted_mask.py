"""Masks that a user paints over an image."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from simmim_mm.datasets.decode import open_pillow, quiet_decoders
from simmim_mm.datasets.limits import MAX_PIXELS

BLACK = 32  # JPEG makes black paint a little gray


def load_painted_mask(path: str | Path, size: tuple[int, int]) -> np.ndarray:
    """Read a painted mask: ``(H, W)`` boolean, True = to be filled.

    The hole is where anything was painted: where the picture is not transparent, if parts of it
    are; else where it is not black.

    Args:
        size: ``(H, W)`` of the image that the mask lies over; a mask of another size is resized.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not an image, or holds no hole.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'no mask file {path}')
    try:
        with quiet_decoders(), path.open('rb') as file:
            rgba = np.asarray(open_pillow(file, MAX_PIXELS).convert('RGBA'))
    except Exception as error:  # decoders raise everything
        raise ValueError(f'{path} is not a readable image: {error}') from None
    alpha = rgba[..., 3]
    if alpha.min() < 255:
        painted = alpha > BLACK
    else:  # plane by plane, which takes a third of the time of a maximum over the colors
        painted = np.logical_or.reduce([rgba[..., i] > BLACK for i in range(3)])
    if not painted.any():
        raise ValueError(f'{path} is black everywhere: paint the hole white')
    return resized_mask(painted, size)


def resized_mask(painted: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A boolean mask that lies over an image of ``size``, ``(H, W)``, pixel by pixel of it."""
    mask = Image.fromarray(painted.astype(np.uint8))
    return np.asarray(mask.resize((size[1], size[0]), Image.Resampling.NEAREST)).astype(bool)


def mask_tokens(hole: np.ndarray, grid: tuple[int, int]) -> torch.Tensor:
    """Tokens ``(h, w)`` that have any pixel in a hole ``(H, W)``, both boolean.

    The ``grid``, ``(h, w)``, tiles the same area; it need not divide H and W.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(hole)).float()[None, None]
    return F.adaptive_max_pool2d(pixels, grid)[0, 0].bool()


def window_around(hole: np.ndarray, size: tuple[int, int], margin: float = 3.0) -> tuple:
    """Part of the image to show the model: the hole with its surroundings.

    A small hole in a large photograph would shrink to nothing if the model saw all of it.

    Args:
        hole: ``(H, W)`` boolean with a hole.
        size: ``(height, width)`` of the model's images: their aspect ratio, and the smallest part.
        margin: Sides of the part over sides of the hole.

    Returns:
        ``(top, left, height, width)``; the whole image if no part of that aspect ratio holds the
        hole.
    """
    image_h, image_w = hole.shape
    rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
    tall, wide = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    # In units of the model's image.
    needed = max(tall / size[0], wide / size[1])
    largest = min(image_h / size[0], image_w / size[1])
    if needed > largest:
        return 0, 0, image_h, image_w
    scale = min(max(margin * needed, 1.0), largest)
    height, width = (min(round(scale * s), s_max) for s, s_max in zip(size, hole.shape))
    top = int(np.clip((rows[0] + rows[-1] + 1 - height) // 2, 0, image_h - height))
    left = int(np.clip((columns[0] + columns[-1] + 1 - width) // 2, 0, image_w - width))
    return top, left, height, width
