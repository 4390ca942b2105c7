"""What a TIFF file says of its pages and axes."""

import ctypes
import struct
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from simmim_mm._text import config_line
from simmim_mm.datasets.errors import UnsupportedImage, first_few

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage, TiffPageSeries

_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_WIDTH, _HEIGHT, _COMPRESSION, _SAMPLES, _PLANAR = 256, 257, 259, 277, 284
_STRIPS, _ROWS, _TILE_WIDTH, _TILE_HEIGHT, _TILES = 273, 278, 322, 323, 324
_OLD_JPEG = 6
_GDAL_NODATA = 42113


@lru_cache(maxsize=1)
def silence_libtiff() -> None:
    """Let the libtiff of Pillow write nothing to stderr; Pillow raises what it finds, too.

    Its handlers are those of the process. Where Pillow is linked in another way, it goes on.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(Image.core.__file__)  # a symbol is looked for in what it links to
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)


def check_page_chain(content: bytes) -> None:
    """Follow the links from page to page, which tifffile would do four million times in a circle.

    Raises:
        ValueError: If a page comes back.
    """
    order = '<' if content[:1] == b'I' else '>'
    large = content[2:4] in (b'+\0', b'\0+')  # BigTIFF
    link, count, entry = (order + 'Q', order + 'Q', 20) if large else (order + 'I', order + 'H', 12)
    place, seen = 8 if large else 4, set()
    with suppress(struct.error):  # beyond the end of the file
        while page := struct.unpack_from(link, content, place)[0]:
            if page in seen:
                raise ValueError('its pages follow each other in a circle')
            seen.add(page)
            entries = struct.unpack_from(count, content, page)[0]
            place = page + struct.calcsize(count) + entry * entries


def check_strips(page: 'TiffImageFile | TiffPage') -> None:
    """See that the file knows where each strip or tile of a page begins.

    Neither Pillow nor tifffile miss those that it does not list: they become black.

    Raises:
        ValueError: If some are missing.
    """
    tags = page.tag_v2.get if isinstance(page, TiffImageFile) else page.tags.valueof
    if tags(_COMPRESSION, 1) == _OLD_JPEG:  # of TIFF 6.0, one stream, with tags of its own
        return
    height, width = tags(_HEIGHT, 0), tags(_WIDTH, 0)
    if places := tags(_TILES, ()):
        rows, across = tags(_TILE_HEIGHT, height), -(-width // max(1, tags(_TILE_WIDTH, width)))
    else:
        places, rows, across = tags(_STRIPS, ()), tags(_ROWS, height), 1
    planes = tags(_SAMPLES, 1) if tags(_PLANAR, 1) == 2 else 1
    needed = -(-height // max(1, rows)) * across * planes
    if len(places) < needed:
        raise ValueError(f'lists {len(places)} of its {needed} strips or tiles')


def only_series(tiff: 'TiffFile') -> 'TiffPageSeries':
    """The image of a file, beside its thumbnails, overviews and masks.

    Raises:
        UnsupportedImage: If there are several.
    """
    images = [s for s in tiff.series if not int(s.keyframe.subfiletype) & (_REDUCED | _MASK)]
    if len(images) > 1 and images[0].kind in ('generic', 'uniform', 'shaped'):
        shapes = first_few((' x '.join(map(str, s.shape)) for s in images), 3)
        raise UnsupportedImage(
            f'holds {len(images)} separate images ({shapes}): save each in a file of its own'
        )
    return tiff.series[0]


def named_layout(axes: str, shape: Sequence[int], channels: Sequence[int]) -> str | None:
    """``'hwc'`` or ``'chw'``, where the file names its axes; None where it does not.

    Y and X are the picture, S and C its channels. All else (Z, T, I, ...) are pages, which are
    channels only if their number was asked for.

    Args:
        axes: Of tifffile, those of length 1 left out. ``Q`` means that the file does not say.
        shape: Their lengths.
        channels: Numbers of channels that are expected; a single one was asked for.

    Raises:
        UnsupportedImage: If there are pages that are no channels.
    """
    if axes.replace('C', 'S') in ('YXS', 'SYX'):
        return 'hwc' if axes[0] == 'Y' else 'chw'
    pages = [(axis, number) for axis, number in zip(axes, shape) if axis not in 'YXSCQ']
    if not pages:
        return None
    if len(axes) == 3 and axes.endswith('YX') and tuple(channels) == (pages[0][1],):
        return 'chw'
    number = ' x '.join(str(n) for _, n in pages)
    line = config_line('LoadImage', channels=pages[0][1])
    as_channels = (
        f', or, if they are channels, write {line} in the place of the loader, the first step of '
        'the pipeline'
    )
    raise UnsupportedImage(
        f'holds {number} pages (its axes are {axes}): save each page in a file of its own'
        + (as_channels if len(axes) == 3 else '')
    )


def declared_nodata(tiff: 'TiffFile') -> float | None:
    """The value of ``GDAL_NODATA``, if the file has it."""
    tag = tiff.pages.first.tags.get(_GDAL_NODATA)
    try:
        return None if tag is None else float(str(tag.value).strip('\0 '))
    except ValueError:
        return None
