"""mmpretrain's resizing transforms for any number of channels, with Pillow's interpolation."""

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from mmcv.image.geometric import pillow_interp_codes
from mmpretrain.datasets import transforms as mmpretrain_transforms
from PIL import Image

from simmim_mm.datasets.jpeg import DeferredImage
from simmim_mm.registry import TRANSFORMS


def resize(
    img: np.ndarray, size: tuple[int, int], interpolation: str = 'bilinear', backend: str = 'auto'
) -> np.ndarray:
    """Resize as torchvision does PIL images, which is how the authors' inputs were made.

    Unlike OpenCV's bilinear, Pillow's filters grow with the reduction (antialiasing). torch has the
    same filters for uint8, several times faster; its values differ by rounding, at most 1 of 255.

    Args:
        img: ``(H, W, C)`` or ``(H, W)``, uint8 or float32.
        size: Height and width.
        interpolation: ``'nearest'``, ``'box'``, ``'bilinear'``, ``'hamming'``, ``'bicubic'`` or
            ``'lanczos'``.
        backend: ``'pillow'``, or ``'auto'``: torch where it is faster, which is for uint8, bilinear
            and bicubic, on processors with AVX2.

    Returns:
        ``(*size, C)`` (C = 1 for an ``(H, W)``) of the same dtype. uint8 is rounded and clipped.
        In memory the channels may come first, as models take them.
    """
    if img.dtype not in (np.uint8, np.float32):
        raise TypeError(f'resize() takes uint8 or float32, got {img.dtype}')
    (height, width), filter_ = size, pillow_interp_codes[interpolation]
    img = img.reshape(*img.shape[:2], -1)
    torch_has_it = img.dtype == np.uint8 and interpolation in ('bilinear', 'bicubic')
    if backend == 'auto' and torch_has_it and _torch_is_fast():
        if not img.flags.writeable or min(img.strides) < 0:  # torch takes neither
            img = img.copy()
        pixels = torch.from_numpy(img).permute(2, 0, 1)[None]
        pixels = F.interpolate(pixels, (height, width), mode=interpolation, antialias=True)
        return pixels[0].permute(1, 2, 0).numpy()  # torch's (C, H, W), which is what models take
    # Channels are resized one by one unless there are three: Pillow would take four or two for RGBA
    # or LA, and weight the others by the last.
    if img.shape[-1] == 3 and img.dtype == np.uint8:
        parts = [img]
    else:
        parts = [np.ascontiguousarray(channel) for channel in np.moveaxis(img, -1, 0)]
    images = [Image.fromarray(part).resize((width, height), filter_) for part in parts]
    return np.dstack([np.asarray(image) for image in images])


@cache
def _torch_is_fast() -> bool:
    """Whether torch has vector instructions for uint8; without them Pillow is faster."""
    return torch.backends.cpu.get_cpu_capability() in ('AVX2', 'AVX512')


def check_backend(backend: str) -> str:
    """``'auto'`` or ``'pillow'``; mmpretrain's default ``'cv2'`` means ``'auto'`` here.

    Raises:
        ValueError: If it is none of these.
    """
    if backend not in ('auto', 'pillow', 'cv2'):
        raise ValueError(f"backend must be 'auto' or 'pillow', got {backend!r}")
    return 'pillow' if backend == 'pillow' else 'auto'


def resize_map(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an ``(H, W)`` uint8 segmentation map with the image: nearest pixel, nothing mixed."""
    return resize(values, size, 'nearest')[..., 0]


def resize_results(
    results: dict,
    size: tuple[int, int],
    interpolation: str,
    box: tuple[int, int, int, int] | None = None,
    backend: str = 'auto',
) -> None:
    """Cut a box out of the image, and of its map ``gt_seg_map`` if there is one; resize both.

    Args:
        results: With ``img``, an array or a :class:`~simmim_mm.datasets.jpeg.DeferredImage`.
        size: Height and width of the result.
        interpolation: See :func:`resize`.
        box: Top, left, height and width; the default is all.
        backend: See :func:`resize`.
    """
    img, segmentation_map = results['img'], results.get('gt_seg_map')
    box = (0, 0, *img.shape[:2]) if box is None else box
    if isinstance(img, DeferredImage):
        pixels, box = img.crop(box, size)
    else:
        pixels = img[_window(box)]
    results['img'] = resize(pixels, size, interpolation, backend)
    if segmentation_map is not None:
        results['gt_seg_map'] = resize_map(segmentation_map[_window(box)], size)
    results['img_shape'] = results['img'].shape[:2]


def _window(box: tuple[int, int, int, int]) -> tuple[slice, slice]:
    top, left, height, width = box
    return np.s_[top : top + height, left : left + width]


@TRANSFORMS.register_module()
class RandomResizedCrop(mmpretrain_transforms.RandomResizedCrop):
    """mmpretrain's, whose boxes follow torchvision's distribution, for any number of channels.

    With ``backend='pillow'`` it equals mmpretrain's of that backend, and so the authors' crop, for
    three-channel uint8. But that one refuses floats and five channels, drops the axis of a single
    one, and weights four channels by the last; OpenCV's ``'bilinear'`` does not antialias and its
    ``'area'`` takes up to four channels.

    A segmentation map ``gt_seg_map`` ``(H, W)`` is cropped along, by the nearest pixel.

    Args:
        scale: Output size, a number or (height, width).
        *args: mmpretrain's: ``crop_ratio_range`` (fraction of the area; SimMIM uses (0.67, 1)),
            ``aspect_ratio_range``, ``max_attempts``, ``interpolation``.
        backend: ``'auto'``: the fastest way within a rounding of Pillow's values; JPEGs that the
            crop makes smaller by three and more are decoded at a reduced size, so that means of 2,
            4 or 8 pixels come before the filter and the box's edges move to multiples of these.
            ``'pillow'``: exactly the authors' pixels.
        **kwargs: mmpretrain's.
    """

    def __init__(self, *args, backend: str = 'auto', **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.backend = check_backend(backend)

    @property
    def takes_deferred(self) -> bool:
        """Whether ``img`` may be a :class:`~simmim_mm.datasets.jpeg.DeferredImage`."""
        return self.backend == 'auto'

    def transform(self, results: dict) -> dict:
        box = self.rand_crop_params(results['img'])
        size = (self.scale[0], self.scale[1])
        resize_results(results, size, self.interpolation, box, self.backend)
        return results


@TRANSFORMS.register_module()
class ResizeEdge(mmpretrain_transforms.ResizeEdge):
    """mmpretrain's, for any number of channels and with maps; see :class:`RandomResizedCrop`.

    Args:
        scale: Length that the edge gets.
        *args: mmpretrain's: ``edge`` (``'short'``, ``'long'``, ``'width'`` or ``'height'``),
            ``interpolation``.
        backend: ``'auto'`` or ``'pillow'``; see :func:`resize`.
        **kwargs: mmpretrain's.
    """

    def __init__(self, *args, backend: str = 'auto', **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.backend = check_backend(backend)

    def _resize_img(self, results: dict) -> None:
        height, width = results['img'].shape[:2]
        new_width, new_height = results['scale']
        resize_results(results, (new_height, new_width), self.interpolation, backend=self.backend)
        results['scale_factor'] = (new_width / width, new_height / height)
