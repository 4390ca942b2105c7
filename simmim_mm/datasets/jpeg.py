"""JPEG files that are decoded when their crop is known: at a reduced size where that is enough."""

import io
from collections.abc import Callable

import numpy as np
import simplejpeg
from PIL import ExifTags, Image

from simmim_mm.datasets.decode import quiet_decoders


class DeferredImage:
    """A JPEG file of which only the header was read; a crop decodes what it needs of it.

    It has the ``shape`` and ``dtype`` of the array that it stands for, and turns into it wherever
    NumPy takes an array.

    Args:
        content: The file.
        size: Height and width in pixels.
        decode_all: The general way to ``(H, W, 3)`` uint8. It is taken for damaged data, so that
            they are tolerated or refused, in the same words, wherever the file is read.
    """

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(
        self, content: bytes, size: tuple[int, int], decode_all: Callable[[], np.ndarray]
    ) -> None:
        self.shape = (*size, 3)
        self._content = content
        self._decode_all = decode_all

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self._decode(1), dtype)

    def crop(
        self, box: tuple[int, int, int, int], size: tuple[int, int]
    ) -> tuple[np.ndarray, tuple[int, int, int, int]]:
        """The pixels of a box, reduced as far as a resize to ``size`` allows.

        Where 1/n of its size, n = 2, 4 or 8, is at least one and a half times ``size``, a box is
        decoded at that: the inverse cosine transform then gives means of n x n pixels for a
        fraction of the time, and the filter of the resize still has enough of them. The edges of
        the box move to multiples of n, so that nothing is shifted against it.

        Args:
            box: Top, left, height and width in pixels.
            size: Height and width of the result that is wanted in the end.

        Returns:
            ``(h, w, 3)`` uint8, and the box that it shows.
        """
        top, left, height, width = box
        ratio = min(height / size[0], width / size[1])
        n = next((n for n in (8, 4, 2) if ratio >= 1.5 * n), 1)
        image = self._decode(n)
        # The last row or column may stand for less than n pixels: it is left out then.
        (first, last), (begin, end) = (
            (round(start / n), min(round((start + length) / n), full // n))
            for start, length, full in zip((top, left), (height, width), self.shape)
        )
        shown = (first * n, begin * n, (last - first) * n, (end - begin) * n)
        return image[first:last, begin:end], shown

    def _decode(self, n: int) -> np.ndarray:
        """``(ceil(H / n), ceil(W / n), 3)``."""
        height, width = (-(-side // n) for side in self.shape[:2])
        try:
            return simplejpeg.decode_jpeg(
                self._content, 'RGB', min_height=height, min_width=width, min_factor=n
            )
        except ValueError:  # strict: also where libjpeg would only warn
            image = self._decode_all()
        return image if n == 1 else np.asarray(Image.fromarray(image).reduce(n))


def open_deferred(
    content: bytes, max_pixels: int | None, decode_all: Callable[[], np.ndarray]
) -> DeferredImage | None:
    """A gray or color JPEG in upright orientation and of at most ``max_pixels``; else None.

    Others (CMYK, a rotation by EXIF, damaged headers, ...) are for the general decoder, which knows
    what to do with them or what to say of them.
    """
    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(content)
    except ValueError:  # no JPEG, or none of these
        return None
    size = int(height), int(width)
    plain = colors in ('Gray', 'YCbCr', 'RGB') and not _may_be_turned(content)
    if not plain or (max_pixels is not None and size[0] * size[1] > max_pixels):
        return None
    return DeferredImage(content, size, decode_all)


def _may_be_turned(content: bytes) -> bool:
    """Whether EXIF, or XMP in its place, turns a JPEG; also if its metadata cannot be read."""
    if not _may_have_metadata(content):
        return False
    try:
        with quiet_decoders():
            exif = Image.open(io.BytesIO(content), formats=['JPEG']).getexif()
        return exif.get(ExifTags.Base.Orientation, 1) != 1
    except Exception:
        return True


def _may_have_metadata(content: bytes) -> bool:
    """Whether an APP1 segment, which EXIF and XMP are, precedes the image; True in doubt.

    Segments are a marker of two bytes and a length of two that counts itself (ITU-T T.81, B.1.1).
    """
    at = 2
    while (marker := content[at : at + 2]) != b'\xff\xda':  # the image
        length = int.from_bytes(content[at + 2 : at + 4], 'big')
        if marker == b'\xff\xe1' or marker[:1] != b'\xff' or length < 2:
            return True
        at += 2 + length
    return False
