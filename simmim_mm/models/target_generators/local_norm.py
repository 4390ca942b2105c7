import torch
import torch.nn.functional as F
from torch import Tensor

from simmim_mm.masking import masked_fraction
from simmim_mm.models.target_generators.base import TargetGenerator
from simmim_mm.registry import MODELS


@MODELS.register_module()
class LocalNorm(TargetGenerator):
    """Normalize each pixel by the mean and variance of its surroundings (SimMIM for Swin v2).

    Both are taken per channel over a square window of the image, without the part that lies
    outside; the variance is the unbiased one, clamped at zero. Computed in float32 also under
    autocast: a variance from E[x^2] - E[x]^2 cancels in half precision.

    Args:
        patch_size: Side of the window in pixels, odd. Authors: 47.
        eps: Added to the variance.
    """

    value_range = 'normalized'

    def __init__(self, patch_size: int = 47, eps: float = 1e-6) -> None:
        super().__init__()
        if patch_size < 3 or patch_size % 2 == 0:
            raise ValueError(
                f'patch_size must be odd and at least 3 (the window is centered on a pixel), '
                f'got {patch_size}'
            )
        self.patch_size, self.eps = patch_size, eps

    def forward(self, x: Tensor) -> Tensor:
        mean, std = self._stats(x.float())
        return (x - mean) / std

    def invert(
        self, pred: Tensor, source: Tensor, mask: Tensor | None = None, stats: str = 'true'
    ) -> Tensor:
        weight = None
        if stats == 'visible' and mask is not None:
            hidden = masked_fraction(mask, source.shape[-2:]) > 0
            weight = (~hidden).to(source)
        mean, std = self._stats(source.float(), weight)
        return pred * std + mean

    def _stats(self, x: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Local mean and standard deviation, over pixels of positive ``weight`` only if given."""
        with torch.autocast(x.device.type, enabled=False):
            if weight is None:
                weight = x.new_ones(1, 1, *x.shape[-2:])
            fraction = self._box(weight)  # of the window that counts
            n = (fraction * self.patch_size**2).round()
            fraction = fraction.clamp(min=1e-12)
            mean = self._box(x * weight) / fraction
            square = self._box(x**2 * weight) / fraction
            var = (square - mean**2) * (n / (n - 1).clamp(min=1))
            return mean, (var.clamp(min=0) + self.eps).sqrt()

    def _box(self, x: Tensor) -> Tensor:
        # Mean over the window with zeros outside the image. A square window is separable: two
        # passes of 47 taps instead of one of 2209.
        k = self.patch_size
        x = F.avg_pool2d(x, (k, 1), 1, (k // 2, 0))
        return F.avg_pool2d(x, (1, k), 1, (0, k // 2))
