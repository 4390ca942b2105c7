import torch.nn.functional as F
from torch import Tensor

from simmim_mm.models.target_generators.base import TargetGenerator
from simmim_mm.registry import MODELS


@MODELS.register_module()
class LowResolution(TargetGenerator):
    """A smaller image: means over squares of pixels (SimMIM, section 4.1.3 and table 3).

    Args:
        factor: Side of the squares in pixels. At 192 pixels, 32 makes 6 x 6 and 4 makes 48 x 48.
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        if factor < 1:
            raise ValueError(f'factor must be at least 1, got {factor}')
        self.factor = self.stride = factor

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C, H / factor, W / factor)``."""
        if x.shape[-2] % self.factor or x.shape[-1] % self.factor:
            raise ValueError(
                f'{x.shape[-2]}x{x.shape[-1]} pixels are not whole squares of {self.factor}: set '
                "LowResolution's factor to a divisor of height and width"
            )
        return F.avg_pool2d(x, self.factor)

    def invert(self, pred: Tensor, source: Tensor, *args, **kwargs) -> Tensor:
        """Repeat each value: nothing is known within its square."""
        return F.interpolate(pred, source.shape[-2:], mode='nearest')
