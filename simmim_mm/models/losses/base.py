import torch
from torch import Tensor, nn


class PixelLoss(nn.Module):
    """Mean error over the pixels that count (SimMIM, section 3.4).

    With e the error of one value, m in {0, 1} the pixel mask and C the channels of the target::

        sum(e * m) / (sum(m) + 1e-5) / C

    The 1e-5 is the authors'; it keeps an empty mask finite.

    Subclasses implement :meth:`elementwise`. One that wants more of the decoder than one number for
    each value of the target says so in :meth:`pred_channels`, and :meth:`decode` makes values of
    them again.

    Attributes:
        target_value_range: The kind of target it needs, see :attr:`TargetGenerator.value_range`; None: any.
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
        """Scalar loss.

        Args:
            pred: ``(B, pred_channels(C), H, W)``.
            target: ``(B, C, H, W)``.
            weight: ``(B, 1, H, W)`` boolean or float, 1 where the loss counts; None = everywhere.
        """
        error = self.elementwise(pred, target)
        if weight is None:
            return error.mean()
        return (error * weight).sum() / (weight.sum(dtype=error.dtype) + self.eps) / target.shape[1]


def full_precision(x: Tensor) -> Tensor:
    """Half precision to float32; what is more stays as it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
