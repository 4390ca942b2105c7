from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio

from simmim_mm._renamed import renamed_arguments
from simmim_mm._text import config_line
from simmim_mm.datasets.decode import DecodedImage, decode
from simmim_mm.datasets.errors import UnreadableImage
from simmim_mm.datasets.jpeg import DeferredImage, open_deferred
from simmim_mm.datasets.limits import MAX_PIXELS
from simmim_mm.datasets.shards import shown
from simmim_mm.datasets.transforms.nodata import add_nodata
from simmim_mm.datasets.values import (
    Nodata,
    Window,
    apply_window,
    check_nodata,
    check_window,
    fill_nodata,
    find_nodata,
)
from simmim_mm.registry import TRANSFORMS

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R 601-2, as Pillow's 'L'


@TRANSFORMS.register_module()
@renamed_arguments(values={'channels': {'grey': 'gray'}})  # codespell:ignore grey
class LoadImage(BaseTransform):
    """Load an image file of nearly any kind as an ``(H, W, C)`` array in RGB order.

    Why not mmcv's ``LoadImageFromFile``: with OpenCV it returns BGR, and prints to stderr; with
    Pillow it clips 16-bit grayscale at 255, shows the hidden colors under transparent pixels of
    RGBA and palette images, and cannot open TIFF files of more than four channels; with tifffile it
    ignores orientation, palettes and inverted grayscale; none of them reads ``.npy``. As there, the
    bytes come through ``mmengine.fileio``, so all of its storage backends work.

    EXIF orientation is applied, palettes and 1-bit images are expanded, animations give their first
    frame. The decoder is chosen by the content, whatever the file is called. (Of 16-bit RGB PNGs
    Pillow reads the upper 8 bits only: keep such data as TIFF or ``.npy``.)

    Values:
        ``'rgb'`` and ``'gray'`` bring 8-bit and 16-bit files to uint8 (16-bit values are divided by
        257); gray is repeated to three channels, color becomes luma, CMYK is converted, transparent
        pixels show ``background``. Of other types (floats, 32-bit or signed integers) the range is
        not known: they become float32 as they are, so choose ``mean`` and ``std`` to match.

        A number, or ``'unchanged'``, keeps the channels and values of the file: uint8 stays, all
        else becomes float32. Alpha and CMYK count as channels.

        ``window`` clips the values and stretches them to 0..255: uint8 for ``'rgb'`` and
        ``'gray'``, else float32. It replaces the division by 257, and opacity is then left out.

    No data:
        Pixels with the value ``nodata`` become flat: the mean of the image's other pixels. They are
        left out of the percentiles of ``window``, of the mask's budget and of the loss. 0 to 65535
        may also be a value of the image, so there a pixel has no data if all of its channels have
        that value; of any other value, one channel is enough. NaN and infinity then count, too.

    Channels of arrays:
        ``.npy`` files and TIFF stacks may be ``(H, W)``, ``(H, W, C)`` or ``(C, H, W)``. Unless a
        TIFF says which axis holds the channels, it is the one (first or last) as long as
        ``channels``, or 1 or 3 for ``'rgb'`` and ``'gray'``, or the shorter of the two for
        ``'unchanged'``. If both would do, the file is refused: set ``layout``. Pages that a TIFF
        names Z, T or I are no channels unless ``channels`` is their number.

    Required keys: ``img_path``. Added keys: ``img``, ``img_shape``, ``ori_shape`` (both (H, W)).

    Args:
        channels: ``'rgb'``, ``'gray'``, ``'unchanged'``, or the number that every file has.
        layout: ``'auto'``, ``'hwc'`` or ``'chw'`` for arrays.
        background: Color, 0..255, to show under transparent pixels; the default is mmcv's, the
            mean of ImageNet, on which neither dark nor bright objects vanish.
        fill_nan: Value that replaces NaN and infinity; without one such files are unreadable.
        max_pixels: Larger images are unreadable (a small file can unpack to any size). ``None``: no
            limit. The default is Pillow's.
        window: Lowest and highest value to show, in the values of the file, such as (-160, 240) or
            (0, 4095), or as percentiles of each image, such as ('1%', '99%'): of all channels
            together for ``'rgb'`` and ``'gray'``, else of each. ``'file'``: the window of DICOM.
        nodata: Value that stands for no data; ``'nan'``; or ``'file'``: what each file declares
            (``GDAL_NODATA`` of TIFF, the padding value of DICOM).
        backend_args: For ``mmengine.fileio.get``.

    Raises:
        UnreadableImage: If the file is missing, damaged, empty, not an image, too large, or has
            another number of channels.
    """

    def __init__(
        self,
        channels: str | int = 'rgb',
        layout: str = 'auto',
        background: Sequence[int] = (124, 117, 104),
        fill_nan: float | None = None,
        max_pixels: int | None = MAX_PIXELS,
        backend_args: dict | None = None,
        window: Window | None = None,
        nodata: Nodata = None,
    ):
        is_number = isinstance(channels, int) and not isinstance(channels, bool) and channels > 0
        if not is_number and channels not in ('rgb', 'gray', 'unchanged'):
            raise ValueError(
                f"channels must be 'rgb', 'gray', 'unchanged' or a number, got {channels!r}"
            )
        if layout not in ('auto', 'hwc', 'chw'):
            raise ValueError(f"layout must be 'auto', 'hwc' or 'chw', got {layout!r}")
        check_window(window)
        self.channels = channels
        self.layout = layout
        self.background = tuple(background)
        self.fill_nan = fill_nan
        self.max_pixels = max_pixels
        self.backend_args = backend_args
        self.window = window
        self.nodata = check_nodata(nodata)
        self.defers = False  # ImageDataset sets it where the next step takes a DeferredImage

    def transform(self, results: dict) -> dict:
        path = results['img_path']
        with _reading(path):
            content = fileio.get(path, backend_args=self.backend_args)
            img, nodata = self._open_deferred(path, content), None
            if img is None:
                img, nodata = self.convert(self._decode(content))
        results['img'] = img
        if nodata is not None:
            add_nodata(results, nodata)
        results['img_shape'] = results['ori_shape'] = img.shape[:2]
        return results

    def _open_deferred(self, path: str, content: bytes) -> DeferredImage | None:
        if not self.defers or (self.channels, self.window, self.nodata) != ('rgb', None, None):
            return None

        def decode_all() -> np.ndarray:
            with _reading(path):
                return self.convert(self._decode(content))[0]

        return open_deferred(content, self.max_pixels, decode_all)

    @property
    def expected_channels(self) -> tuple[int, ...]:
        """Numbers of channels that files may have; empty: any."""
        if isinstance(self.channels, int):
            return (self.channels,)
        return () if self.channels == 'unchanged' else (1, 3)

    def decode(self, path: str) -> DecodedImage:
        """A file as it is stored; may raise anything."""
        return self._decode(fileio.get(path, backend_args=self.backend_args))

    def _decode(self, content: bytes) -> DecodedImage:
        raw = self.channels not in ('rgb', 'gray')
        return decode(content, self.expected_channels, self.layout, self.max_pixels, raw)

    def convert(self, decoded: DecodedImage) -> tuple[np.ndarray, np.ndarray | None]:
        """The image as it is loaded, and its no-data, bool ``(H, W)``, if a value was declared."""
        converts, expected = self.channels in ('rgb', 'gray'), self.expected_channels
        img, nodata = _to_float(decoded.array, keep_16_bit=converts), None
        if self.nodata is not None:
            value = decoded.nodata if self.nodata == 'file' else float(self.nodata)
            nodata = find_nodata(decoded.colors, value)
            img = fill_nodata(img, nodata)
        if img.dtype == np.float32 and not np.isfinite(img).all():
            if self.fill_nan is None:
                raise ValueError(
                    f'has NaN or infinite values: write {self.config_line(nodata="nan")} in the '
                    'place of the loader, the first step of the pipeline, to leave them out of the '
                    'loss, or fill_nan=0 instead of nodata to replace them'
                )
            img = np.where(np.isfinite(img), img, np.float32(self.fill_nan))
        if self.window is not None:
            decoded = self._stretch(decoded._replace(array=img), nodata)
            img = decoded.array
        if converts:
            img = self._convert(DecodedImage(img, decoded.has_alpha))
        elif expected and img.shape[-1] not in expected:
            raise ValueError(
                f'has {_channels(img)}, but the loader has channels={self.channels}: take the '
                f'file out, or, if all have {_channels(img)}, {self._for_channels(img)}'
            )
        return np.require(img, requirements=['C_CONTIGUOUS', 'WRITEABLE']), nodata

    def _stretch(self, decoded: DecodedImage, nodata: np.ndarray | None) -> DecodedImage:
        """The window of an image, without opacity; the alpha of other channels is one of them."""
        converts = self.channels in ('rgb', 'gray')
        window = decoded.window if self.window == 'file' else self.window
        if window is None or isinstance(window, str):
            raise ValueError(
                'suggests no window: write the lowest and highest value to show, such as '
                f'{self.config_line(window=(-160, 240))}, in the place of the loader, the first '
                'step of the pipeline'
            )
        array = decoded.colors if converts else decoded.array
        array = apply_window(array, window, joint=converts, nodata=nodata)
        return DecodedImage(np.rint(array).astype(np.uint8) if converts else array)

    def _convert(self, decoded: DecodedImage) -> np.ndarray:
        """To three channels or one; 16 bits to 8."""
        img = decoded.array
        if img.dtype == np.uint16:
            img = ((img.astype(np.uint32) + 128) // 257).astype(np.uint8)
        has_alpha = decoded.has_alpha and img.dtype == np.uint8  # of floats the range is not known
        colors = img.shape[-1] - has_alpha
        if colors not in (1, 3):
            raise ValueError(
                f'has {_channels(img)}, from which {self.channels!r} cannot be made: '
                f'{self._for_channels(img)}'
            )
        if has_alpha:
            img = _flatten(img, np.asarray(self.background, np.float32))
        if self.channels == 'rgb':
            return img if img.shape[-1] == 3 else np.repeat(img, 3, axis=-1)
        if img.shape[-1] == 1:
            return img
        return _round_like(img @ _LUMA, img)[..., None]

    def _for_channels(self, img: np.ndarray) -> str:
        """What a config needs for images like this one."""
        count = img.shape[-1]
        values = f'{count} value' + 's' * (count != 1)
        return (
            f'write {self.config_line(channels=count)} in the place of the loader, the first step '
            f'of the pipeline, and set model.backbone.in_channels={count}, and {values} each in '
            'mean and std of data_preprocessor (`simmim stats FOLDER` gives them)'
        )

    def config_line(self, **settings: Any) -> str:
        """How to write it in a config, with these settings changed."""
        defaults = {name: p.default for name, p in signature(LoadImage).parameters.items()}
        defaults['background'] = tuple(defaults['background'])
        own = {name: getattr(self, name) for name in defaults}
        changed = {name: value for name, value in own.items() if value != defaults[name]}
        return config_line('LoadImage', **{**changed, **settings})

    def __repr__(self) -> str:
        values = dict(channels=self.channels, layout=self.layout)
        values |= {k: v for k in ('window', 'nodata') if (v := getattr(self, k)) is not None}
        return f'{type(self).__name__}({", ".join(f"{k}={v!r}" for k, v in values.items())})'


@contextmanager
def _reading(path: str) -> Iterator[None]:
    try:
        with np.errstate(over='ignore', invalid='ignore'):  # what becomes infinite is refused
            yield
    except Exception as error:  # decoders raise everything from SyntaxError to struct.error
        raise UnreadableImage(shown(path), _reason(error)) from error


def _to_float(array: np.ndarray, keep_16_bit: bool) -> np.ndarray:
    if array.dtype == bool:
        return array.astype(np.uint8) * 255  # as for 1-bit images
    if array.dtype.kind not in 'uif':
        raise ValueError(f'array of {array.dtype}; give integers or floats')
    if array.dtype == np.uint8:
        return array
    if keep_16_bit and array.dtype.kind == 'u' and array.dtype.itemsize == 2:
        return array.astype(np.uint16)  # to native byte order
    return array.astype(np.float32)


def _flatten(img: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Lay an image, whose last channel is its opacity (0..255), over a color."""
    if (img[..., -1] == 255).all():
        return img[..., :-1]
    opacity = img[..., -1:].astype(np.float32) / 255
    return _round_like(background + (img[..., :-1] - background) * opacity, img)


def _round_like(values: np.ndarray, img: np.ndarray) -> np.ndarray:
    return np.rint(values).astype(img.dtype) if img.dtype == np.uint8 else values


def _channels(img: np.ndarray) -> str:
    return f'{img.shape[-1]} channel' + 's' * (img.shape[-1] != 1)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:  # its text repeats the path
        return error.strerror.lower()
    text = ' '.join(str(error).split())
    return text if text and isinstance(error, ValueError) else f'{text} ({type(error).__name__})'
