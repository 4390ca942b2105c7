from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmpretrain.datasets import transforms as mmpretrain_transforms

from simmim_mm.datasets.jpeg import DeferredImage
from simmim_mm.datasets.transforms.resizing import check_backend, resize_results
from simmim_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ResizeToCover(BaseTransform):
    """Scale an image, up or down, to the smallest one that a crop of ``size`` fits into.

    For a square size that is "short side to size", with torchvision's rounding. The aspect ratio
    is kept; any number of channels. ``ResizeToCover`` and ``mmpretrain.CenterCrop`` with the same
    size give the largest central crop.

    Required keys: ``img`` ``(H, W, C)``. Modified keys: ``img``, ``img_shape``, and the
    segmentation map ``gt_seg_map`` ``(H, W)`` if there is one.

    Args:
        size: A number, or (height, width).
        interpolation: See :func:`simmim_mm.datasets.transforms.resizing.resize`.
        backend: ``'auto'`` or ``'pillow'``, as of ``RandomResizedCrop``.
    """

    def __init__(
        self, size: int | Sequence[int], interpolation: str = 'bilinear', backend: str = 'auto'
    ) -> None:
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(
                f'size must be a positive number of pixels or (height, width), got {size}'
            )
        self.interpolation = interpolation
        self.backend = check_backend(backend)

    @property
    def takes_deferred(self) -> bool:
        """Whether ``img`` may be a :class:`~simmim_mm.datasets.jpeg.DeferredImage`."""
        return self.backend == 'auto'

    def transform(self, results: dict) -> dict:
        (H, W), (h, w) = self.size, results['img'].shape[:2]
        # H / h >= W / w: the height needs the larger factor. In integers, so that no rounding makes
        # the other side one pixel too short.
        new = (H, w * H // h) if H * w >= W * h else (h * W // w, W)
        if new != (h, w) or isinstance(results['img'], DeferredImage):
            resize_results(results, new, self.interpolation, backend=self.backend)
        results['img_shape'] = new
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(size={self.size}, interpolation={self.interpolation!r})'


@TRANSFORMS.register_module()
class SimpleResizedCrop(ResizeToCover):
    """PixMIM's crop, which keeps nearly all of the image and its aspect ratio.

    Scale the short side to ``size``, pad every side by reflection, crop at random (known from
    DeiT III). The recipe's flip is a transform of its own, ``mmpretrain.RandomFlip``. Images
    smaller than ``size`` are enlarged.

    Required keys: ``img`` ``(H, W, C)``. Modified keys: ``img``, ``img_shape``, and the
    segmentation map ``gt_seg_map`` ``(H, W)`` if there is one.

    Args:
        size: A number, or (height, width).
        padding: Pixels added on every side after scaling.
        padding_mode: ``'reflect'``, ``'symmetric'``, ``'edge'`` or ``'constant'`` (zeros).
        interpolation: See :func:`simmim_mm.datasets.transforms.resizing.resize`.
        backend: ``'auto'`` or ``'pillow'``, as of ``RandomResizedCrop``.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        padding: int = 4,
        padding_mode: str = 'reflect',
        interpolation: str = 'bilinear',
        backend: str = 'auto',
    ) -> None:
        super().__init__(size, interpolation, backend)
        if padding_mode == 'reflect' and min(self.size) <= padding:
            raise ValueError(
                f'cannot reflect {padding} pixels of an image of {self.size[0]}x{self.size[1]}: '
                "choose a larger size, less padding, or padding_mode='symmetric'"
            )
        self.padding = padding
        self.padding_mode = padding_mode
        # It chooses the window. It can pad too, but pads with zeros whatever its padding_mode.
        self.crop = mmpretrain_transforms.RandomCrop(self.size)

    def transform(self, results: dict) -> dict:
        results = super().transform(results)
        img = self._pad(results['img'])
        top, left, height, width = self.crop.rand_crop_params(img)
        window = np.s_[top : top + height, left : left + width]
        results['img'] = img[window]
        results['img_shape'] = results['img'].shape[:2]
        if results.get('gt_seg_map') is not None:
            results['gt_seg_map'] = self._pad(results['gt_seg_map'])[window]
        return results

    def _pad(self, array: np.ndarray) -> np.ndarray:
        side: Any = (self.padding, self.padding)
        mode: Any = self.padding_mode  # a word of those that NumPy declares
        return np.pad(array, (side, side, (0, 0))[: array.ndim], mode=mode)

    def __repr__(self) -> str:
        return (
            f'{super().__repr__()[:-1]}, padding={self.padding}, '
            f'padding_mode={self.padding_mode!r})'
        )
