import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from simmim_mm._renamed import renamed_attributes
from simmim_mm.models.losses.pixel_loss import PixelLoss, full_precision
from simmim_mm.registry import MODELS


class _CrossEntropy(torch.autograd.Function):
    """Of logits ``(B, C, bins, H, W)`` for classes ``(B, C, H, W)``, in float32 or float64.

    Keeps the logits alone for the backward pass, and has the probabilities of one image at a time.
    """

    @staticmethod
    def forward(ctx, logits: Tensor, index: Tensor) -> Tensor:
        total = torch.stack([full_precision(image).logsumexp(1) for image in logits])
        ctx.save_for_backward(logits, index, total)
        return total - full_precision(logits.gather(2, index.unsqueeze(2))).squeeze(2)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]  # names
        logits, index, total = ctx.saved_tensors
        result = torch.empty_like(logits)
        for i, image in enumerate(logits):
            p = (full_precision(image) - total[i].unsqueeze(1)).exp_()
            # gradient of each logit: its probability, less one for the right class
            p.scatter_add_(1, index[i].unsqueeze(1), -torch.ones_like(p[:, :1]))
            result[i] = p.mul_(grad[i].unsqueeze(1))
        return result, None


@MODELS.register_module()
@renamed_attributes(centres='centers')  # codespell:ignore
class ColorBins(PixelLoss):
    """Classification of each channel's value into bins of equal width (SimMIM, tables 5 and 13).

    Needs a target in [0, 1]: ``UnitRange``. Of 8-bit images, 8 bins are of 32 gray levels each, and
    256 of one. The decoder predicts ``C * bins`` channels: the bins of the first channel, of the
    second, ...

    With 256 bins that is 113 MB for an image of 192 pixels, and each step of a softmax would be as
    much again. Here only the prediction and its gradient are held for the whole batch. A linear
    decoder of that many channels is large, too; the paper has 256 bins at lower resolution only.

    Args:
        bins: Of each channel.
        draw: What reconstructions show: ``'mean'``, the expectation; ``'mode'``, the likeliest bin.
    """

    target_value_range = 'unit'

    def __init__(self, bins: int = 8, draw: str = 'mean') -> None:
        super().__init__()
        if bins < 2:
            raise ValueError(f'bins must be at least 2, got {bins}')
        if draw not in ('mean', 'mode'):
            raise ValueError(f"draw must be 'mean' or 'mode', got {draw!r}")
        self.bins, self.draw = bins, draw

    def pred_channels(self, channels: int) -> int:
        return channels * self.bins

    def to_bins(self, target: Tensor) -> Tensor:
        """``(B, C, H, W)`` in [0, 1] to int64 in [0, bins)."""
        # k / 255 falls into bin floor(k * bins / 256) for every k: the product is above the border
        # by k / 255 / (256 / bins) or more, and rounding is far below that
        return (full_precision(target) * self.bins).long().clamp(0, self.bins - 1)

    def centers(self) -> Tensor:
        """Value of each bin in [0, 1]: the mean of the 8-bit values in it, float64 ``(bins,)``."""
        width = 256 / self.bins
        return ((torch.arange(self.bins, dtype=torch.float64) + 0.5) * width - 0.5) / 255

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        return _CrossEntropy.apply(pred.unflatten(1, (-1, self.bins)), self.to_bins(target))

    def decode(self, pred: Tensor) -> Tensor:
        """Values in [0, 1]."""
        logits = pred.unflatten(1, (-1, self.bins))
        centers = self.centers().to(pred)
        if self.draw == 'mode':
            return centers[logits.argmax(2)]
        return torch.einsum('bckhw,k->bchw', logits.softmax(2), centers)
