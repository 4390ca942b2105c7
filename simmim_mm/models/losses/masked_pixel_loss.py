import torch.nn.functional as F
from torch import Tensor

from simmim_mm.models.losses.base import PixelLoss, full_precision
from simmim_mm.registry import MODELS


@MODELS.register_module()
class MaskedPixelLoss(PixelLoss):
    """L1, L2 or smooth-L1 (SimMIM, section 3.4 and table 5).

    Args:
        criterion: ``'l1'``, ``'l2'`` (squared error) or ``'smooth_l1'``.
        beta: Where smooth-L1 changes from squared to absolute error, in normalized units.
    """

    def __init__(self, criterion: str = 'l1', beta: float = 1.0) -> None:
        super().__init__()
        self.criterion = criterion
        self.beta = beta
        if criterion not in ('l1', 'l2', 'smooth_l1'):
            raise ValueError(f"criterion must be 'l1', 'l2' or 'smooth_l1', got {criterion!r}")

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        pred, target = full_precision(pred), full_precision(target)
        if self.criterion == 'l1':
            return F.l1_loss(pred, target, reduction='none')
        if self.criterion == 'l2':
            return F.mse_loss(pred, target, reduction='none')
        return F.smooth_l1_loss(pred, target, reduction='none', beta=self.beta)
