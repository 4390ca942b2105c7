from torch import Tensor

from simmim_mm.models.target_generators.base import TargetGenerator
from simmim_mm.registry import MODELS


@MODELS.register_module()
class UnitRange(TargetGenerator):
    """Pixels as brightness in [0, 1], for cross-entropy and color bins.

    Values beyond the range, which filters may give, are cut off.

    Args:
        low: What becomes 0, in the value range of the loaded images.
        high: What becomes 1; 255 for 8-bit files.
    """

    requires_pixels = True
    value_range = 'unit'

    def __init__(self, low: float = 0.0, high: float = 255.0) -> None:
        super().__init__()
        if low >= high:
            raise ValueError(f'low must be below high, got low={low}, high={high}')
        self.low, self.high = low, high

    def forward(self, x: Tensor) -> Tensor:
        pixels = x * self.std + self.mean
        return ((pixels - self.low) / (self.high - self.low)).clamp(0, 1)

    def invert(self, pred: Tensor, source: Tensor, *args, **kwargs) -> Tensor:
        pixels = pred * (self.high - self.low) + self.low
        return (pixels - self.mean) / self.std
