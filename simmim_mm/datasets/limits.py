"""How much a file may unpack to: a few kilobytes can declare any size."""

from simmim_mm._text import config_line
from simmim_mm.datasets.errors import UnsupportedImage

MAX_PIXELS = 178_956_970  # Pillow's limit
# Where pixels are limited, so are bytes: to so many for a pixel of the limit, or for a byte of the
# file. A satellite image of 13 channels passes, and kilobytes that unpack to 100 GB do not.
_BYTES_PER_PIXEL, _BYTES_PER_BYTE = 8, 100


def most_bytes(max_pixels: int, stored: int) -> int:
    """Bytes that a file of ``stored`` bytes may unpack to."""
    return max(_BYTES_PER_PIXEL * max_pixels, _BYTES_PER_BYTE * stored)


def check_size(
    height: int, width: int, max_pixels: int | None, size: int = 0, stored: int = 0
) -> None:
    """Refuse an image by what its header says, before it is decoded.

    Args:
        height: Of the image.
        width: Of the image.
        max_pixels: Largest number of them; None: no limit.
        size: Bytes that it unpacks to, where others than :data:`MAX_PIXELS` times a color may come.
        stored: Bytes of the file.

    Raises:
        UnsupportedImage: If it is too large.
    """
    if max_pixels is None:
        return
    if height * width > max_pixels or size > most_bytes(max_pixels, stored):
        unpacked = f', {size / 1e9:.1f} GB from {stored} bytes' if size else ''
        raise UnsupportedImage(
            f'{width} x {height} pixels{unpacked} are over the limit of max_pixels={max_pixels}; '
            f'if the file can be trusted, write {config_line("LoadImage", max_pixels=None)} in '
            'the place of the loader, the first step of the pipeline'
        )
