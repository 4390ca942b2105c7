"""One file: whether it can be used, and what it looks like."""

import io
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from mmengine import fileio
from PIL import Image

from simmim_mm._renamed import renamed_arguments
from simmim_mm._text import config_line, one_line
from simmim_mm.datasets.decode import DecodedImage, decode, open_pillow, quiet_decoders
from simmim_mm.datasets.errors import UnsupportedImage
from simmim_mm.datasets.limits import MAX_PIXELS
from simmim_mm.datasets.values import (
    Nodata,
    apply_window,
    fill_nodata,
    find_nodata,
    suspect_nodata,
)

# What makes a file unfit, in the order in which it is looked for.
FAULTS = dict(
    unreadable='cannot be opened, or is not an image',
    truncated='begins as an image, but cannot be decoded to its end',
    unsupported='is sound, but training cannot read it as it is',
    zero_area='has no pixels',
    too_small='a side is shorter than wanted',
    wrong_mode='has another number of channels than wanted',
    not_finite='has NaN or infinite values, which are not declared as no-data',
    constant='all pixels are the same',
)


class Inspection(NamedTuple):
    """What is known of a file; height, width and channels are 0 if it cannot be decoded."""

    fault: str = ''  # a key of FAULTS
    detail: str = ''  # the decoder's words, or what was found instead
    height: int = 0
    width: int = 0
    channels: int = 0
    size: int = 0  # bytes
    content: bytes = b''  # hash of the bytes
    pixels: bytes = b''  # hash of the decoded pixels
    looks: tuple[int, int] = (0, 0)  # perceptual_hashes


@renamed_arguments(bands='channels')
def inspect_file(
    path: str, min_size: int = 1, channels: Sequence[int] = (), nodata: Nodata = None
) -> Inspection:
    """Decode a file and describe it. Whatever is wrong with it is returned, not raised.

    It is decoded as ``LoadImage`` does, with the same limits.

    Args:
        path: A file, or an image in a shard.
        min_size: Shortest side in pixels that is wanted.
        channels: Numbers of channels that are wanted: 1 gray, 3 RGB, 4 with opacity or CMYK.
            Empty: any.
        nodata: See ``LoadImage``. Pixels without data do not count in what an image looks like.
    """
    try:
        content = fileio.get(path)
    except (OSError, ValueError) as error:  # of shards, either
        return Inspection('unreadable', str(getattr(error, 'strerror', None) or error))
    seen = Inspection(size=len(content), content=blake2b(content, digest_size=16).digest())
    try:
        decoded = decode(content, tuple(channels), max_pixels=MAX_PIXELS)
    except UnsupportedImage as error:
        return seen._replace(fault='unsupported', detail=str(error))
    except Exception as error:  # decoders raise everything
        fault = 'truncated' if _begins_as_image(content) else 'unreadable'
        fault = 'zero_area' if str(error).startswith('no pixels') else fault
        return seen._replace(fault=fault, detail=one_line(error))
    with np.errstate(over='ignore', invalid='ignore'):  # of values near the largest of their type
        return _describe(seen, decoded, min_size, channels, nodata)


def _describe(
    seen: Inspection,
    decoded: DecodedImage,
    min_size: int,
    channels: Sequence[int],
    nodata: Nodata,
) -> Inspection:
    array = decoded.array
    if array.dtype.kind not in 'buif':
        return seen._replace(fault='unsupported', detail=f'array of {array.dtype}')
    height, width, count = array.shape
    seen = seen._replace(height=height, width=width, channels=count)
    if min(height, width) < min_size:
        return seen._replace(fault='too_small', detail=f'{width} x {height} pixels')
    if channels and count not in channels:
        return seen._replace(fault='wrong_mode', detail=f'{count} channels')
    if array.dtype.kind == 'f' and nodata is None and not np.isfinite(array).all():
        fraction = 1 - np.isfinite(array).mean()
        kept = dict(channels=count) if count not in (1, 3) else {}
        line = config_line('LoadImage', **kept, nodata='nan')
        detail = (
            f'{fraction:.2g} of its values are NaN or infinite: if they stand for no-data, scan '
            f'with --nodata nan, and train with {line} in the place of the loader, the first step '
            'of the pipeline; fill_nan=0 instead of nodata replaces them by 0'
        )
        return seen._replace(fault='not_finite', detail=detail)
    value = decoded.nodata if nodata in (None, 'file') else float(nodata)
    if value is None and nodata is None:
        value = suspect_nodata(array)
    hidden = find_nodata(array, value)
    if nodata is not None and hidden.all():
        return seen._replace(fault='constant', detail='every pixel is no-data')
    if (array == array[:1, :1]).all():
        return seen._replace(fault='constant', detail=f'every pixel is {array[0, 0].tolist()}')
    key = blake2b(repr((array.shape, array.dtype.str)).encode(), digest_size=16)
    key.update(np.ascontiguousarray(array).data)
    return seen._replace(pixels=key.digest(), looks=perceptual_hashes(array, hidden))


def perceptual_hashes(array: np.ndarray, hidden: np.ndarray | None = None) -> tuple[int, int]:
    """Two 64-bit hashes that survive re-encoding and resizing: of the image, and mirrored.

    ``imagehash.phash``: which of the 8x8 lowest frequencies of the gray image exceed their median.

    Args:
        array: ``(H, W, C)`` of any dtype.
        hidden: Bool ``(H, W)``, True where there are no data; these pixels become flat.
    """
    import imagehash

    hidden = find_nodata(array, None) if hidden is None else hidden
    if not hidden.all():
        array = fill_nodata(array, hidden)
    if array.dtype == np.uint8:
        colors = array.shape[-1] >= 3
        image = Image.fromarray(np.ascontiguousarray(array[..., :3] if colors else array[..., 0]))
    else:  # the range is not known: stretch what is there; of sides over 8192, every n-th value
        array = array[tuple(slice(None, None, max(1, n // 4096)) for n in array.shape[:2])]
        gray = array.mean(-1, keepdims=True, dtype=np.float64)
        gray = apply_window(gray, ('0%', '100%'), joint=True)
        image = Image.fromarray(gray[..., 0].astype(np.uint8))
    # phash shrinks to 32x32 by itself; done here once for both
    image = image.convert('L').resize((32, 32), Image.Resampling.LANCZOS)
    mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return int(str(imagehash.phash(image)), 16), int(str(imagehash.phash(mirrored)), 16)


def _begins_as_image(content: bytes) -> bool:
    try:
        with quiet_decoders():
            open_pillow(io.BytesIO(content))
    except Exception:
        return content.startswith(b'\x93NUMPY')
    return True
