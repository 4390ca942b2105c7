"""What takes the place of masked pixels, instead of a mask token."""

from collections.abc import Sequence

import torch
from torch import Tensor

from simmim_mm.masking import upsample_mask
from simmim_mm.models.data_preprocessor import PixelStats
from simmim_mm.registry import MODELS


class Fill(PixelStats):
    """Base of what takes the place of masked pixels, before the encoder sees the image.

    The alternative to a learned mask token, which replaces masked patch embeddings inside the
    encoder. It suits every encoder that takes images, also one that knows nothing of masks.
    Subclasses implement :meth:`values`.
    """

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` filled under a mask ``(B, h, w)``; what stood there is lost."""
        hidden = upsample_mask(mask, x.shape[-2:])
        return torch.where(hidden, self.values(x, hidden).to(x.dtype), x)

    def values(self, x: Tensor, hidden: Tensor) -> Tensor:
        """What to put under the mask, in normalized units, broadcastable to ``(B, C, H, W)``.

        ``hidden`` is ``(B, 1, H, W)`` boolean; pixels of ``x`` where it is True must not be used.
        """
        raise NotImplementedError


@MODELS.register_module()
class ConstantFill(Fill):
    """One color under the mask.

    Args:
        value: The color in the value range of the loaded images, not normalized: 0 is black, which
            the encoder sees as ``-mean / std``. One number, or one for each channel.
    """

    def __init__(self, value: float | Sequence[float] = 0.0) -> None:
        super().__init__()
        self.value = value

    def set_pixel_stats(self, mean: Tensor, std: Tensor) -> None:
        super().set_pixel_stats(mean, std)
        if isinstance(self.value, Sequence) and len(self.value) != len(mean):
            raise ValueError(
                f'ConstantFill has {len(self.value)} values but images have {len(mean)} channels: '
                'give one number, or one for each channel'
            )

    def values(self, x: Tensor, hidden: Tensor) -> Tensor:
        value = self.mean.new_tensor(self.value).view(-1, 1, 1)
        return (value - self.mean) / self.std


@MODELS.register_module()
class MeanFill(Fill):
    """A mean color under the mask.

    Args:
        of: ``'dataset'``: the mean of the data preprocessor, zero after normalization. ``'image'``:
            the mean of each image's visible pixels, per channel (the dataset's if none is visible).
    """

    def __init__(self, of: str = 'dataset') -> None:
        super().__init__()
        if of not in ('dataset', 'image'):
            raise ValueError(f"of must be 'dataset' or 'image', got {of!r}")
        self.of = of

    def values(self, x: Tensor, hidden: Tensor) -> Tensor:
        if self.of == 'dataset':
            return x.new_zeros(())
        count = (~hidden).sum((2, 3), keepdim=True).clamp(min=1)
        return x.masked_fill(hidden, 0.0).sum((2, 3), keepdim=True) / count


@MODELS.register_module()
class SmoothFill(Fill):
    """An interpolation of the visible pixels, weighted by about the inverse 6th power of distance.

    The power is a sum of Gaussians, s in 2, 4, ... up to a fourth of the longer side in pixels, so
    that all of it is products of small matrices::

        w(d) = sum_s s^-6 exp(-d^2 / (2 s^2))        (d in pixels)

    Zero, the mean of the dataset, where nothing of the image is visible.
    """

    def values(self, x: Tensor, hidden: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            visible = (~hidden).to(torch.promote_types(x.dtype, torch.float32))
            colors = x.to(visible.dtype).masked_fill(hidden, 0.0)
            known = torch.cat((colors, visible), 1)
            summed, scale = torch.zeros_like(known), 2.0
            while scale <= max(8.0, max(x.shape[-2:]) / 4):
                rows, columns = (_gaussians(n, scale).to(known) for n in x.shape[-2:])
                summed += scale**-6 * (rows @ known @ columns)
                scale *= 2
            return summed[:, :-1] / summed[:, -1:].clamp(min=torch.finfo(summed.dtype).tiny)


def _gaussians(n: int, scale: float) -> Tensor:
    """``exp(-d^2 / (2 scale^2))`` of the distances of ``n`` places, ``(n, n)`` float64."""
    place = torch.arange(n, dtype=torch.float64)
    return (-((place[:, None] - place) ** 2) / (2 * scale**2)).exp()


@MODELS.register_module()
class NoiseFill(Fill):
    """Independent noise in every masked value.

    In training it is drawn anew each time, from torch's generator of the images' device, which
    ``ReproducibilityHook`` seeds at every iteration. In evaluation it is the same field of noise
    for every image, batch and epoch, so that validation losses compare.

    Args:
        distribution: ``'gaussian'``: mean and standard deviation of the data preprocessor, standard
            normal after normalization; not clipped to the range of pixels. ``'uniform'``: between
            ``low`` and ``high``.
        low: In the value range of the loaded images.
        high: In the same range; 255 for 8-bit files.
        seed: Of the noise in evaluation.
    """

    def __init__(
        self, distribution: str = 'gaussian', low: float = 0.0, high: float = 255.0, seed: int = 0
    ) -> None:
        super().__init__()
        if distribution not in ('gaussian', 'uniform'):
            raise ValueError(f"distribution must be 'gaussian' or 'uniform', got {distribution!r}")
        if low >= high:
            raise ValueError(f'low must be below high, got low={low}, high={high}')
        self.distribution = distribution
        self.low, self.high = low, high
        self.seed = seed

    def values(self, x: Tensor, hidden: Tensor) -> Tensor:
        draw = torch.randn if self.distribution == 'gaussian' else torch.rand
        if self.training:
            noise = draw(x.shape, dtype=x.dtype, device=x.device)
        else:  # on the CPU, whose generator gives the same numbers whatever the device
            generator = torch.Generator().manual_seed(self.seed)
            noise = draw(x.shape[1:], generator=generator, dtype=x.dtype).to(x.device)
        if self.distribution == 'gaussian':
            return noise
        return (self.low + (self.high - self.low) * noise - self.mean) / self.std
