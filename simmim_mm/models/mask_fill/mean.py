from torch import Tensor

from simmim_mm.models.mask_fill.base import Fill
from simmim_mm.registry import MODELS


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
