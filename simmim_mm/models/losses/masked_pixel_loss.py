from typing import Optional

import torch.nn.functional as F
from torch import Tensor, nn

from simmim_mm.registry import MODELS


@MODELS.register_module()
class MaskedPixelLoss(nn.Module):
    """Mean error of the predicted pixels under the mask (SimMIM, section 3.4 and table 5).

    With e the error of one value, m in {0, 1} the pixel mask and C the number of channels::

        sum(e * m) / (sum(m) + 1e-5) / C

    The 1e-5 is the authors'; it keeps an empty mask finite.

    Args:
        criterion: ``'l1'``, ``'l2'`` (squared error) or ``'smooth_l1'``.
        beta: Where smooth-L1 changes from squared to absolute error, in normalised units.
    """

    eps = 1e-5

    def __init__(self, criterion: str = 'l1', beta: float = 1.0) -> None:
        super().__init__()
        self.criterion = criterion
        self.beta = beta
        if criterion not in ('l1', 'l2', 'smooth_l1'):
            raise ValueError(f"criterion must be 'l1', 'l2' or 'smooth_l1', got {criterion!r}")

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        """Error of each value, ``(B, C, H, W)``."""
        if self.criterion == 'l1':
            return F.l1_loss(pred, target, reduction='none')
        if self.criterion == 'l2':
            return F.mse_loss(pred, target, reduction='none')
        return F.smooth_l1_loss(pred, target, reduction='none', beta=self.beta)

    def forward(self, pred: Tensor, target: Tensor, weight: Optional[Tensor] = None) -> Tensor:
        """Scalar loss.

        Args:
            pred: ``(B, C, H, W)``.
            target: ``(B, C, H, W)``.
            weight: ``(B, 1, H, W)`` boolean or float, 1 where the loss counts; None = everywhere.
        """
        error = self.elementwise(pred.float(), target.float())
        if weight is None:
            return error.mean()
        return (error * weight).sum() / (weight.sum() + self.eps) / pred.shape[1]
