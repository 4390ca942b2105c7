"""torchvision's augmentations, on an image and its foreground map together."""

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from torchvision.transforms import v2
from torchvision.tv_tensors import Image, Mask

from simmim_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class TorchvisionTransform(BaseTransform):
    """A transform of ``torchvision.transforms.v2``: rotation, affine, perspective, colors.

    Unlike mmpretrain's ``torchvision/...``, which see the image alone, a geometric change moves the
    foreground map ``gt_seg_map`` along, by the nearest pixel; what comes in from outside is black,
    and background. Changes of color leave the map as it is. Place it before the mask transform, so
    that masked blocks stay whole, and use this package's crops for the crop to the training size.

    Required keys: ``img`` ``(H, W, C)``, uint8 or float32 of any number of channels (changes of
    color need one or three). Modified keys: ``img``, ``img_shape`` and, if present,
    ``gt_seg_map``.

    Args:
        transform: Name in ``torchvision.transforms.v2`` and arguments, such as
            ``dict(type='RandomAffine', degrees=15, scale=(0.9, 1.1))``. A ``fill`` is a color.
        prob: Fraction of the images that it is applied to.
    """

    def __init__(self, transform: dict, prob: float = 1.0) -> None:
        kwargs = dict(transform)
        name = kwargs.pop('type')
        if not (isinstance(name, str) and isinstance(getattr(v2, name, None), type)):
            raise ValueError(f'torchvision.transforms.v2 has no transform {name!r}')
        if not 0 <= prob <= 1:
            raise ValueError(f'prob must be in [0, 1], got {prob}')
        if 'fill' in kwargs:  # meant for the image; the map is filled with background
            kwargs['fill'] = {Image: kwargs['fill'], Mask: 0}
        self.apply = getattr(v2, name)(**kwargs)
        self.prob = prob

    def transform(self, results: dict) -> dict:
        if np.random.random() >= self.prob:
            return results
        inputs: dict[str, torch.Tensor] = {}
        inputs['img'] = Image(_to_tensor(results['img'].transpose(2, 0, 1)))
        if results.get('gt_seg_map') is not None:
            inputs['gt_seg_map'] = Mask(_to_tensor(results['gt_seg_map']))
        outputs = {key: value.numpy() for key, value in self.apply(inputs).items()}
        results.update(outputs, img=np.ascontiguousarray(outputs['img'].transpose(1, 2, 0)))
        results['img_shape'] = results['img'].shape[:2]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.apply}, prob={self.prob})'


def _to_tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))  # a flipped view has negative strides
