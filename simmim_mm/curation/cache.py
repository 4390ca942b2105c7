"""Smaller copies of large originals, which loaders decode many times faster."""

import io
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from simmim_mm._text import one_line
from simmim_mm.checkpoint.file_backend import AtomicLocalBackend, remove_stale_files
from simmim_mm.curation.files import check_outside, keep_settings, map_files
from simmim_mm.datasets.decode import decode
from simmim_mm.datasets.errors import DataError
from simmim_mm.datasets.image_folder import list_images
from simmim_mm.datasets.jpeg import open_deferred
from simmim_mm.datasets.shards import are_shards
from simmim_mm.datasets.transforms.resizing import resize

_SETTINGS = 'cache.json'


class CachedFile(NamedTuple):
    """What became of a file: ``'resized'``, ``'copied'``, ``'done before'`` or ``'unreadable'``."""

    path: str  # relative to the folder
    status: str
    detail: str = ''  # why it is unreadable


def cache_folder(
    root: str,
    out: str,
    short_side: int = 512,
    quality: int = 95,
    workers: int = 0,
    tick: Callable[[int], None] | None = None,
) -> list[CachedFile]:
    """Write the images below ``root`` to ``out`` with a short side of at most ``short_side``.

    JPEGs become JPEGs; other 8-bit images PNGs, with ``.png`` behind names that end otherwise. Both
    are upright. What is small enough, and images of more bits or channels, whose values resizing
    would mix, are copied as they are. Files that a former call has written are left alone, unless
    the original is newer.

    Args:
        root: A folder, searched as :class:`ImageDataset` does.
        out: Another folder, outside of ``root``.
        short_side: In pixels.
        quality: Of JPEGs, 1 to 95.
        workers: Processes; 0 works in this one.
        tick: Called with the number of all files after each of them.

    Returns:
        An entry for each file, in the order of their paths.

    Raises:
        DataError: If the folder holds no image, or ``out`` a cache with other settings.
        ValueError: If ``short_side`` or ``quality`` is out of range.
    """
    if short_side < 1 or not 1 <= quality <= 95:
        raise ValueError(
            f'short_side must be at least 1 and quality 1 to 95, got {short_side} and {quality}'
        )
    check_outside(out, root)
    if are_shards(root):
        raise DataError(f'{root} holds shards: simmim shard {root} OUT --short-side {short_side}')
    files = list_images(root)
    settings = dict(short_side=short_side, quality=quality)
    keep_settings(Path(out, _SETTINGS), settings, 'a cache with other settings')
    for folder, *_ in os.walk(out):
        remove_stale_files(folder)
    cache = partial(_cache_file, root=root, out=out, short_side=short_side, quality=quality)
    results = []
    for result in map_files(cache, files, workers):
        results.append(result)
        if tick is not None:
            tick(len(files))
    return results


def _cache_file(file: str, root: str, out: str, short_side: int, quality: int) -> CachedFile:
    path = os.path.relpath(file, root)
    target = Path(out, path)
    try:
        for done in (target, Path(f'{target}.png')):
            if done.exists() and done.stat().st_mtime >= os.stat(file).st_mtime:
                return CachedFile(path, 'done before')
        content = Path(file).read_bytes()
        small, ending = shrink(content, short_side, quality)
    except Exception as error:  # decoders raise everything
        return CachedFile(path, 'unreadable', one_line(error))
    # A copy that cannot be written, as on a full disk, is no fault of the image.
    if small is None:
        AtomicLocalBackend().put(content, target)
        return CachedFile(path, 'copied')
    if ending == '.png' and target.suffix.lower() != '.png':
        target = Path(f'{target}.png')
    AtomicLocalBackend().put(small, target)
    return CachedFile(path, 'resized')


def shrink(content: bytes, short_side: int, quality: int) -> tuple[bytes | None, str]:
    """A smaller copy of an image file, and the ending it should have.

    None if the image is small enough, or of more bits or channels than resizing should mix.
    """
    image = _read(content, short_side)
    height, width = image.shape[:2]
    if image.dtype != np.uint8 or image.shape[-1] > 4 or min(height, width) <= short_side:
        return None, ''
    factor = short_side / min(height, width)
    small = resize(image, (round(height * factor), round(width * factor)), 'bicubic')
    buffer, is_jpeg = io.BytesIO(), content.startswith(b'\xff\xd8')
    small = Image.fromarray(small[..., 0] if small.shape[-1] == 1 else small)
    if is_jpeg:
        small.save(buffer, 'JPEG', quality=quality)
    else:
        small.save(buffer, 'PNG')
    return buffer.getvalue(), '.jpg' if is_jpeg else '.png'


def _read(content: bytes, short_side: int) -> np.ndarray:
    """Upright; a JPEG that is much larger than wanted only as large as it has to be."""

    def decode_all() -> np.ndarray:
        return decode(content, raw=False).array

    image = open_deferred(content, None, decode_all)
    if image is None:
        return decode_all()
    height, width = image.shape[:2]
    return image.crop((0, 0, height, width), (short_side, short_side))[0]
