from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from simmim_mm._renamed import renamed_attributes
from simmim_mm.registry import MODELS


def full_precision(x: Tensor) -> Tensor:
    """Half precision to float32; float32 and float64 stay."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


@renamed_attributes(
    values={'normalised': 'normalized'},  # codespell:ignore
    target_gives='target_value_range',
)
class PixelLoss(nn.Module):
    """Mean error over the pixels that count (SimMIM, section 3.4).

    With e the error of one value, m in {0, 1} the pixel mask and C the channels of the target::

        sum(e * m) / (sum(m) + 1e-5) / C

    The 1e-5 is the authors'; it keeps an empty mask finite.

    Subclasses implement :meth:`elementwise`. One that wants more of the decoder than one number for
    each value of the target says so in :meth:`pred_channels`, and :meth:`decode` makes values of
    them again.

    Attributes:
        target_value_range: What the values of the target have to be, see
            :attr:`TargetGenerator.value_range`; None: anything.
    """

    eps = 1e-5
    target_value_range: str | None = None

    def pred_channels(self, channels: int) -> int:
        """Channels that the decoder has to predict for a target of ``channels``."""
        return channels

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        """Error of each value of the target, ``(B, C, H, W)``, in float32 (float64 stays)."""
        raise NotImplementedError

    def decode(self, pred: Tensor) -> Tensor:
        """``(B, pred_channels(C), H, W)`` to values of the target, ``(B, C, H, W)``."""
        return pred

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Scalar loss of ``(B, pred_channels(C), H, W)``, given a target ``(B, C, H, W)``.

        ``weight``, ``(B, 1, H, W)`` boolean or float, is 1 where the loss counts; None: all.
        """
        error = self.elementwise(pred, target)
        if weight is None:
            return error.mean()
        return (error * weight).sum() / (weight.sum(dtype=error.dtype) + self.eps) / target.shape[1]


@MODELS.register_module()
class MaskedPixelLoss(PixelLoss):
    """L1, L2 or smooth-L1 (SimMIM, section 3.4 and table 5).

    Args:
        criterion: ``'l1'``, ``'l2'`` (squared error) or ``'smooth_l1'``.
        beta: Where smooth-L1 changes from squared to absolute error, in normalized units.
    """

    def __init__(self, criterion: str = 'l1', beta: float = 1.0) -> None:
        super().__init__()
        errors = dict(l1=F.l1_loss, l2=F.mse_loss, smooth_l1=partial(F.smooth_l1_loss, beta=beta))
        if criterion not in errors:
            raise ValueError(f"criterion must be 'l1', 'l2' or 'smooth_l1', got {criterion!r}")
        self.criterion, self.beta, self.error = criterion, beta, errors[criterion]

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return self.error(full_precision(pred), full_precision(target), reduction='none')


@MODELS.register_module()
class PixelCrossEntropy(PixelLoss):
    """Cross-entropy on pixels in [0, 1], each channel taken as the probability of being bright.

    With t the target and z the prediction, a logit::

        -t log sigmoid(z) - (1 - t) log(1 - sigmoid(z))

    Its minimum is not zero but the entropy of t. Needs a target in [0, 1]: ``UnitRange``.
    """

    target_value_range = 'unit'

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        pred, target = full_precision(pred), full_precision(target)
        return F.binary_cross_entropy_with_logits(pred, target, reduction='none')

    def decode(self, pred: Tensor) -> Tensor:
        """Brightness in (0, 1)."""
        return pred.sigmoid()
