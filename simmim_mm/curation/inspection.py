"""One file: whether it can be used, and what it looks like."""

import io
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from simmim_mm._renamed import renamed_arguments
from simmim_mm.datasets.decode import decode

# What makes a file unfit, in the order in which it is looked for.
FAULTS = dict(
    unreadable='cannot be opened, or is not an image',
    truncated='begins as an image, but cannot be decoded to its end',
    zero_area='has no pixels',
    too_small='a side is shorter than wanted',
    wrong_mode='has another number of channels than wanted',
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
def inspect_file(path: str, min_size: int = 1, channels: Sequence[int] = ()) -> Inspection:
    """Decode a file and describe it. Whatever is wrong with it is returned, not raised.

    Args:
        path: A local file.
        min_size: Shortest side in pixels that is wanted.
        channels: Numbers of channels that are wanted: 1 gray, 3 RGB, 4 with opacity or CMYK.
            Empty: any.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        return Inspection('unreadable', str(error.strerror or error))
    seen = Inspection(size=len(content), content=blake2b(content, digest_size=16).digest())
    try:
        array = decode(content).array
    except Exception as error:  # decoders raise everything
        fault = 'truncated' if _begins_as_image(content) else 'unreadable'
        fault = 'zero_area' if str(error).startswith('no pixels') else fault
        return seen._replace(fault=fault, detail=str(error).splitlines()[0][:200])
    height, width, count = array.shape
    seen = seen._replace(height=height, width=width, channels=count)
    if min(height, width) < min_size:
        return seen._replace(fault='too_small', detail=f'{width} x {height} pixels')
    if channels and count not in channels:
        return seen._replace(fault='wrong_mode', detail=f'{count} channels')
    if (array == array[:1, :1]).all():
        return seen._replace(fault='constant', detail=f'every pixel is {array[0, 0].tolist()}')
    key = blake2b(repr((array.shape, array.dtype.str)).encode(), digest_size=16)
    key.update(np.ascontiguousarray(array).data)
    return seen._replace(pixels=key.digest(), looks=perceptual_hashes(array))


def perceptual_hashes(array: np.ndarray) -> tuple[int, int]:
    """Two 64-bit hashes that survive re-encoding and resizing: of the image, and mirrored.

    ``imagehash.phash``: which of the 8x8 lowest frequencies of the gray image exceed their median.

    Args:
        array: ``(H, W, C)`` of any dtype.
    """
    import imagehash

    if array.dtype == np.uint8:
        colors = array.shape[-1] >= 3
        image = Image.fromarray(np.ascontiguousarray(array[..., :3] if colors else array[..., 0]))
    else:  # the range is not known: stretch what is there
        gray = np.nan_to_num(array.astype(np.float64)).mean(-1)
        gray = 255 * (gray - gray.min()) / max(gray.max() - gray.min(), 1e-12)
        image = Image.fromarray(gray.astype(np.uint8))
    # phash shrinks to 32x32 by itself; done here once for both
    image = image.convert('L').resize((32, 32), Image.Resampling.LANCZOS)
    mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return int(str(imagehash.phash(image)), 16), int(str(imagehash.phash(mirrored)), 16)


def _begins_as_image(content: bytes) -> bool:
    try:
        Image.open(io.BytesIO(content)).close()
    except Exception:
        return content.startswith(b'\x93NUMPY')
    return True
