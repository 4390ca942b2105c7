"""mmpretrain's resizing transforms for any number of channels, with Pillow's interpolation."""

from typing import Any

import numpy as np
from mmcv.image.geometric import pillow_interp_codes
from mmpretrain.datasets import transforms as mmpretrain_transforms
from PIL import Image

from simmim_mm.registry import TRANSFORMS


def resize(img: np.ndarray, size: tuple[int, int], interpolation: str = 'bilinear') -> np.ndarray:
    """Resize as torchvision does PIL images, which is how the authors' inputs were made.

    Unlike OpenCV's bilinear, Pillow's filters grow with the reduction (antialiasing). Channels are
    resized one by one unless there are three: Pillow would take four or two for RGBA or LA, and
    weight the others by the last.

    Args:
        img: ``(H, W, C)`` or ``(H, W)``, uint8 or float32.
        size: Height and width.
        interpolation: ``'nearest'``, ``'box'``, ``'bilinear'``, ``'hamming'``, ``'bicubic'`` or
            ``'lanczos'``.

    Returns:
        ``(*size, C)`` (C = 1 for an ``(H, W)``) of the same dtype. uint8 is rounded and clipped.
    """
    if img.dtype not in (np.uint8, np.float32):
        raise TypeError(f'resize() takes uint8 or float32, got {img.dtype}')
    (height, width), filter_ = size, pillow_interp_codes[interpolation]
    img = img.reshape(*img.shape[:2], -1)
    if img.shape[-1] == 3 and img.dtype == np.uint8:
        parts = [img]
    else:
        parts = [np.ascontiguousarray(channel) for channel in np.moveaxis(img, -1, 0)]
    images = [Image.fromarray(part).resize((width, height), filter_) for part in parts]
    return np.dstack([np.asarray(image) for image in images])


def resize_map(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an ``(H, W)`` uint8 segmentation map with the image: nearest pixel, nothing mixed."""
    return resize(values, size, 'nearest')[..., 0]


def resize_results(
    results: dict, size: tuple[int, int], interpolation: str, box: Any = np.s_[:]
) -> None:
    """Cut a box out of the image, and of its map ``gt_seg_map`` if there is one; resize both."""
    results['img'] = resize(results['img'][box], size, interpolation)
    if results.get('gt_seg_map') is not None:
        results['gt_seg_map'] = resize_map(results['gt_seg_map'][box], size)
    results['img_shape'] = results['img'].shape[:2]


@TRANSFORMS.register_module()
class RandomResizedCrop(mmpretrain_transforms.RandomResizedCrop):
    """mmpretrain's, whose boxes follow torchvision's distribution, for any number of channels.

    Equals mmpretrain's with ``backend='pillow'``, and so the authors' crop, for three-channel
    uint8. But that one refuses floats and five channels, drops the axis of a single one, and
    weights four channels by the last; OpenCV's ``'bilinear'`` does not antialias and its ``'area'``
    takes up to four channels.

    A segmentation map ``gt_seg_map`` ``(H, W)`` is cropped along, by the nearest pixel.

    Args:
        scale: Output size, a number or (height, width).
        *args: mmpretrain's: ``crop_ratio_range`` (fraction of the area; SimMIM uses (0.67, 1)),
            ``aspect_ratio_range``, ``max_attempts``, ``interpolation``.
        **kwargs: mmpretrain's. ``backend`` is ignored: it is always Pillow.
    """

    def transform(self, results: dict) -> dict:
        top, left, height, width = self.rand_crop_params(results['img'])
        box = np.s_[top : top + height, left : left + width]
        resize_results(results, (self.scale[0], self.scale[1]), self.interpolation, box)
        return results


@TRANSFORMS.register_module()
class ResizeEdge(mmpretrain_transforms.ResizeEdge):
    """mmpretrain's, for any number of channels and with maps; see :class:`RandomResizedCrop`.

    Args:
        scale: Length that the edge gets.
        *args: mmpretrain's: ``edge`` (``'short'``, ``'long'``, ``'width'`` or ``'height'``),
            ``interpolation``.
        **kwargs: mmpretrain's. ``backend`` is ignored: it is always Pillow.
    """

    def _resize_img(self, results: dict) -> None:
        height, width = results['img'].shape[:2]
        new_width, new_height = results['scale']
        resize_results(results, (new_height, new_width), self.interpolation)
        results['scale_factor'] = (new_width / width, new_height / height)
