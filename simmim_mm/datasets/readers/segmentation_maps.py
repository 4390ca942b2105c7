"""Segmentation maps: images whose pixel values are class numbers, or how salient a place is."""

import io
from pathlib import Path

import numpy as np
from mmengine import fileio
from PIL import Image

from simmim_mm.datasets.errors import DataError


def load_segmentation_map(
    path: str | Path, backend_args: dict | None = None, gray: bool = False
) -> np.ndarray:
    """Read a map as it is stored; palette images give their indices.

    Args:
        path: Of any storage that ``mmengine.fileio`` knows.
        backend_args: For ``mmengine.fileio.get``.
        gray: Take a gray image that is stored with colors, too, as saliency maps are.

    Returns:
        ``(H, W)`` of the file's own dtype.

    Raises:
        DataError: If it cannot be read, or has several channels.
    """
    try:
        values = np.asarray(Image.open(io.BytesIO(fileio.get(path, backend_args=backend_args))))
    except Exception as error:  # decoders raise everything
        reason = getattr(error, 'strerror', None) or error  # the text of an OSError has the path
        raise DataError(f'{path} cannot be read ({reason})') from error
    if values.ndim == 3 and gray:
        values = values[..., :3].mean(-1).round().astype(np.uint8)
    if values.ndim != 2:
        raise DataError(
            f'{path} has {values.shape[-1]} channels: a segmentation map has one, with the number '
            'of its class in each pixel'
        )
    return values
