"""Bytes of an image file to an array, with as little interpretation as possible."""

import io
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import IO, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from simmim_mm._renamed import old_names, renamed_arguments
from simmim_mm._text import config_line
from simmim_mm.datasets.dicom import decode_dicom, is_dicom
from simmim_mm.datasets.errors import UnsupportedImage
from simmim_mm.datasets.limits import check_size
from simmim_mm.datasets.tiff import (
    check_page_chain,
    check_strips,
    declared_nodata,
    named_layout,
    only_series,
    silence_libtiff,
)

# What Pillow may open, as far as it was built for it (HEIF needs a plugin). Its other formats are
# of no use here, and one of them (EPS) runs a program.
_FORMATS = ('JPEG', 'PNG', 'WEBP', 'BMP', 'GIF', 'TIFF', 'PPM', 'JPEG2000', 'AVIF', 'HEIF')
_TIFF_MAGIC = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
_LOGS = ('tifffile', 'PIL.TiffImagePlugin', 'pydicom')  # of the decoders
_NPY_MAGIC = b'\x93NUMPY'


class _UnknownToPillow(ValueError):
    pass


class DecodedImage(NamedTuple):
    """A decoded file.

    Attributes:
        array: ``(H, W, C)`` in the file's own dtype and value range, RGB order where it has color.
        has_alpha: Whether the last channel is the opacity.
        nodata: The value that stands for no data, where the file declares one.
        window: Lowest and highest value to show, where the file suggests them.
    """

    array: np.ndarray
    has_alpha: bool = False
    nodata: float | None = None
    window: tuple[float, float] | None = None

    @property
    def colors(self) -> np.ndarray:
        """The array without opacity."""
        return self.array[..., :-1] if self.has_alpha else self.array


@renamed_arguments(bands='channels')
def decode(
    content: bytes,
    channels: tuple[int, ...] = (),
    layout: str = 'auto',
    max_pixels: int | None = None,
    raw: bool = True,
) -> DecodedImage:
    """Decode an image file. Its content, not its name, says which format it has.

    Args:
        content: The whole file.
        channels: Expected numbers of channels, by which the channel axis of an array is found.
        layout: ``'auto'``, ``'hwc'`` or ``'chw'``, for arrays (``.npy`` and TIFF stacks).
        max_pixels: Refuse larger images before decoding them. ``None``: no limit.
        raw: Keep CMYK as four channels; else convert it to RGB.

    Raises:
        UnsupportedImage: If the file is sound, but cannot be read like this.
        Exception: Of any kind, if the content is damaged; ValueError with a readable message for
            what is found here.
    """
    if not content:
        raise ValueError('empty file (0 bytes)')
    with quiet_decoders():
        if content.startswith(_NPY_MAGIC):
            array = np.load(io.BytesIO(content), allow_pickle=False)
            result = DecodedImage(_channels_last(array, channels, layout))
        elif content.startswith(_TIFF_MAGIC):
            result = _decode_tiff(content, channels, layout, max_pixels, raw)
        elif is_dicom(content):
            array, nodata, window = decode_dicom(content, max_pixels)
            array = array if array.ndim == 3 else array[..., None]
            result = DecodedImage(array, nodata=nodata, window=window)
        else:
            result = _decode_pillow(content, max_pixels, raw)
    height, width = result.array.shape[:2]
    if 0 in result.array.shape:
        raise ValueError(f'no pixels (height {height}, width {width})')
    return result


def open_pillow(file: IO[bytes], max_pixels: int | None = None) -> Image.Image:
    """Open an image by Pillow, in no format but those that are read here; its header is read.

    Raises:
        UnsupportedImage: If it has more than ``max_pixels``.
        Exception: Of any kind, if it is damaged.
    """
    silence_libtiff()
    image = Image.open(file, formats=_available_formats())
    check_size(image.height, image.width, max_pixels)
    if isinstance(image, TiffImageFile):
        check_strips(image)
    return image


@lru_cache(maxsize=1)
def _available_formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _decode_pillow(content: bytes, max_pixels: int | None, raw: bool) -> DecodedImage:
    try:
        image = open_pillow(io.BytesIO(content), max_pixels)
    except UnidentifiedImageError:
        raise _UnknownToPillow(
            f'not an image in a known format ({len(content)} bytes, beginning with {content[:8]!r})'
        ) from None
    image.load()
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except Exception:  # damaged EXIF data say nothing about the pixels
        logging.getLogger(__name__).debug('EXIF data ignored', exc_info=True)
    mode = image.mode
    if mode.startswith('I;16'):
        return DecodedImage(np.asarray(image).astype(np.uint16)[..., None])
    if mode == 'I':  # 16-bit PNM, and PNG in older Pillows; TIFF of 32 bits or signed
        dtype = np.uint16 if image.format in ('PNG', 'PPM') else np.float32
        return DecodedImage(np.asarray(image).astype(dtype)[..., None])
    if mode == 'F':
        return DecodedImage(np.asarray(image)[..., None])
    if mode in ('RGBA', 'LA', 'PA', 'RGBa', 'La') or 'transparency' in image.info:
        mode = {'LA': 'LA', 'La': 'LA'}.get(mode, 'RGBA')
    elif mode == '1':
        mode = 'L'
    elif not (mode in ('L', 'RGB') or (mode == 'CMYK' and raw)):
        mode = 'RGB'
    array = np.asarray(image if image.mode == mode else image.convert(mode))
    return DecodedImage(array if array.ndim == 3 else array[..., None], mode in ('LA', 'RGBA'))


def _decode_tiff(
    content: bytes, channels: tuple[int, ...], layout: str, max_pixels: int | None, raw: bool
) -> DecodedImage:
    """Pillow knows the color spaces and codecs of photographs; tifffile knows all the rest."""
    import tifffile

    check_page_chain(content)
    with tifffile.TiffFile(io.BytesIO(content)) as tiff:
        series, page, nodata = only_series(tiff), tiff.pages[0], declared_nodata(tiff)
        axes = ''.join(a for a, n in zip(series.axes, series.shape) if n > 1 or a in 'YX')
        is_photo = axes == 'YX' or (
            axes in ('YXS', 'SYX') and page.bitspersample == 8 and page.samplesperpixel in (3, 4)
        )
        if is_photo:
            try:
                return _decode_pillow(content, max_pixels, raw)._replace(nodata=nodata)
            except _UnknownToPillow:  # float64, int8, ...
                pass
        size = math.prod(series.shape) * series.dtype.itemsize
        check_size(page.imagelength, page.imagewidth, max_pixels, size, len(content))
        check_strips(page)
        shape = [n for a, n in zip(series.axes, series.shape) if a in axes]
        layout = named_layout(axes, shape, channels) or layout
        try:
            array = series.asarray().reshape(shape)
        except ValueError as error:
            if "'imagecodecs'" not in str(error):
                raise
            raise UnsupportedImage(
                f'is a TIFF with {page.compression.name} compression, which needs imagecodecs: '
                "pip install 'simmim_mm[formats]'"
            ) from error
        has_alpha = page.photometric == tifffile.PHOTOMETRIC.RGB and page.samplesperpixel == 4
    return DecodedImage(_channels_last(array, channels, layout), has_alpha, nodata)


def _channels_last(array: np.ndarray, channels: tuple[int, ...], layout: str) -> np.ndarray:
    """``(H, W)``, ``(H, W, C)`` or ``(C, H, W)`` to ``(H, W, C)``.

    With ``layout='auto'`` the channels are the first or the last axis: the one whose length is
    among ``channels``, or the shorter one where neither is. If both would do, it is an error.
    """
    if array.ndim == 2:
        return array[..., None]
    if array.ndim != 3:
        raise UnsupportedImage(f'array of shape {array.shape}; give (H, W), (H, W, C) or (C, H, W)')
    if layout == 'auto':
        first, last = array.shape[0], array.shape[2]
        if (first in channels) != (last in channels):
            layout = 'hwc' if last in channels else 'chw'
        elif first not in channels and first != last:
            layout = 'hwc' if last < first else 'chw'
        else:
            raise UnsupportedImage(
                f'array of shape {array.shape} may be (H, W, C) or (C, H, W): write '
                f"{config_line('LoadImage', layout='hwc')}, or 'chw', in the place of the "
                'loader, the first step of the pipeline'
            )
    return array if layout == 'hwc' else np.moveaxis(array, 0, -1)


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """Silence the decoders, whose warnings about a million files would fill the log.

    Pillow's own limit on the number of pixels is off meanwhile: ``max_pixels`` is checked instead.
    """
    logs = [logging.getLogger(name) for name in _LOGS]
    disabled = [log.disabled for log in logs]
    for log in logs:
        log.disabled = True
    pillow_limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = pillow_limit
        for log, was_disabled in zip(logs, disabled):
            log.disabled = was_disabled


__getattr__ = old_names(__name__)
