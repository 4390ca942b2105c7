"""The corruptions of ImageNet-C, the same for an image whoever loads it."""

from collections.abc import Sequence
from hashlib import blake2b
from importlib import import_module

import numpy as np
from mmcv.transforms import BaseTransform

from simmim_mm.datasets.errors import DataError
from simmim_mm.registry import TRANSFORMS

CORRUPTION_GROUPS: dict[str, tuple[str, ...]] = dict(
    noise=('gaussian_noise', 'shot_noise', 'impulse_noise'),
    blur=('defocus_blur', 'glass_blur', 'motion_blur', 'zoom_blur'),
    weather=('snow', 'frost', 'fog', 'brightness'),
    digital=('contrast', 'elastic_transform', 'pixelate', 'jpeg_compression'),
    extra=('speckle_noise', 'gaussian_blur', 'spatter', 'saturate'),
)
CORRUPTIONS = tuple(name for names in CORRUPTION_GROUPS.values() for name in names)
COMMON_CORRUPTIONS = CORRUPTIONS[:15]  # over which ImageNet-C takes its mean
SEVERITIES = (1, 2, 3, 4, 5)
MIN_SIZE = 32  # pixels, of imagecorruptions
_SEEDED = ('impulse_noise', 'glass_blur')  # these do not draw from np.random


@TRANSFORMS.register_module()
class Corrupt(BaseTransform):
    """One of the corruptions of ImageNet-C (Hendrycks and Dietterich, arXiv 1903.12261).

    The noise of an image follows from its pixels, the corruption and ``seed``: it is the same in
    any worker, in any order, and for every model, and one draw serves all severities. Random
    numbers of the steps behind it stay what they are without it.

    The strengths are those of ImageNet-C whatever the size of the image: at 32 pixels they are far
    harder than CIFAR-10-C, which has its own.

    Required key: ``img``, uint8 ``(H, W, 3)``, ``(H, W, 1)`` or ``(H, W)`` of 32 pixels and more.

    Args:
        corruption: One of :data:`CORRUPTIONS`.
        severity: 1 to 5.
        seed: Other noise for another seed.
        channel_order: ``'rgb'``, or ``'bgr'`` of images from mmcv's loader: rain, frost, colors and
            JPEG differ by channel.

    Raises:
        DataError: If the corruption or severity does not exist, ``imagecorruptions`` is not
            installed, or an image is not 8-bit with one or three channels and 32 pixels or more.
    """

    def __init__(
        self, corruption: str, severity: int = 1, seed: int = 0, channel_order: str = 'rgb'
    ) -> None:
        if corruption not in CORRUPTIONS:
            raise DataError(f'no corruption {corruption!r}; there are {", ".join(CORRUPTIONS)}')
        if severity not in SEVERITIES:
            raise DataError(f'severity must be 1 to 5, got {severity!r}')
        if channel_order not in ('rgb', 'bgr'):
            raise ValueError(f"channel_order must be 'rgb' or 'bgr', got {channel_order!r}")
        self.corruption, self.severity, self.seed = corruption, severity, seed
        self.channel_order = channel_order
        self._functions = _imagecorruptions().corruption_dict

    def transform(self, results: dict) -> dict:
        image = results['img']
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
            kind = getattr(image, 'dtype', type(image).__name__)
            raise DataError(f'corruptions take 8-bit images, got {kind}')
        pixels = image.reshape(*image.shape[:2], -1)
        height, width, channels = pixels.shape
        if channels not in (1, 3):
            raise DataError(f'corruptions take images of one or three channels, got {channels}')
        if min(height, width) < MIN_SIZE:
            raise DataError(
                f'{results.get("img_path", "an image")} has {height}x{width} pixels where it is '
                f'corrupted, which takes {MIN_SIZE}x{MIN_SIZE} and more'
            )
        corrupted = self.corrupt(self._in_rgb(pixels))
        corrupted = self._in_rgb(corrupted)[..., :channels]
        results['img'] = np.ascontiguousarray(corrupted.reshape(image.shape))
        return results

    def corrupt(self, image: np.ndarray) -> np.ndarray:
        """A corrupted copy, uint8 ``(H, W, 3)``, of one in RGB with one or three channels."""
        from PIL import Image

        rgb = np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))
        key = f'{self.seed} {self.corruption} {image.shape}'.encode() + rgb.tobytes()
        seed = int.from_bytes(blake2b(key, digest_size=4).digest(), 'little')
        seeded = dict(seed=seed) if self.corruption in _SEEDED else {}
        function = self._functions[self.corruption]
        state = np.random.get_state()
        np.random.seed(seed)
        try:
            with np.errstate(invalid='ignore', divide='ignore'):  # spatter without a drop: 0 / 0
                corrupted = function(Image.fromarray(rgb), self.severity, **seeded)
                return np.nan_to_num(corrupted).astype(np.uint8)
        finally:
            np.random.set_state(state)

    def _in_rgb(self, image: np.ndarray) -> np.ndarray:
        return image[..., ::-1] if self.channel_order == 'bgr' else image

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.corruption!r}, severity={self.severity})'


def parse_corruptions(names: Sequence[str]) -> tuple[str, ...]:
    """Corruptions by name or group: a key of :data:`CORRUPTION_GROUPS`, ``common`` or ``all``.

    Raises:
        DataError: If there is no such corruption.
    """
    groups = dict(CORRUPTION_GROUPS, common=COMMON_CORRUPTIONS, all=CORRUPTIONS)
    found = [name for text in names for name in groups.get(text, (text,))]
    if unknown := [name for name in found if name not in CORRUPTIONS]:
        raise DataError(
            f'no corruption {unknown[0]!r}; there are {", ".join([*CORRUPTIONS, *groups])}'
        )
    return tuple(name for name in CORRUPTIONS if name in found)


def _imagecorruptions():
    try:
        return import_module('imagecorruptions')
    except ImportError:
        raise DataError(
            "corruptions need imagecorruptions: pip install 'simmim_mm[robustness]'"
        ) from None
