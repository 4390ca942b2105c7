from collections.abc import Sequence

from torch import Tensor

from simmim_mm.models.mask_fill.base import Fill
from simmim_mm.registry import MODELS


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
