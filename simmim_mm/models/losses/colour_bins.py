import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from simmim_mm.registry import MODELS

from .base import PixelLoss, full_precision


@MODELS.register_module()
class ColourBins(PixelLoss):
    """Classification of each channel's value into bins of equal width (SimMIM, tables 5 and 13).

    Needs a target in [0, 1]: ``UnitRange``. Of 8-bit images, 8 bins are of 32 grey levels each, and
    256 of one. The decoder predicts ``C * bins`` channels: the bins of the first channel, of the
    second, ...

    That is 113 MB for an image of 192 pixels with 256 bins, and each step of a softmax would be as
    much again. So the images of a batch are scored one after the other, and their softmax is
    computed again in the backward pass: beside the prediction and its gradient, that of one image
    is held. A linear decoder of that many channels is large, too; the paper has 256 bins at lower
    resolution only.

    Args:
        bins: Of each channel.
        draw: What a picture shows: ``'mean'``, the expectation; ``'mode'``, the most likely bin.
    """

    target_gives = 'unit'

    def __init__(self, bins: int = 8, draw: str = 'mean') -> None:
        super().__init__()
        if bins < 2:
            raise ValueError(f'bins must be at least 2, got {bins}')
        if draw not in ('mean', 'mode'):
            raise ValueError(f"draw must be 'mean' or 'mode', got {draw!r}")
        self.bins = bins
        self.draw = draw

    def pred_channels(self, channels: int) -> int:
        return channels * self.bins

    def to_bins(self, target: Tensor) -> Tensor:
        """``(B, C, H, W)`` in [0, 1] to int64 in [0, bins)."""
        # k / 255 falls into bin floor(k * bins / 256) for every k: the product is above the border
        # by k / 255 / (256 / bins) or more, and rounding is far below that
        return (full_precision(target) * self.bins).long().clamp(0, self.bins - 1)

    def centres(self) -> Tensor:
        """Value of each bin in [0, 1]: the mean of the 8-bit values in it, float64 ``(bins,)``."""
        width = 256 / self.bins
        return ((torch.arange(self.bins, dtype=torch.float64) + 0.5) * width - 0.5) / 255

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        index = self.to_bins(target)
        return torch.stack(
            [checkpoint(self._score, p, i, use_reentrant=False) for p, i in zip(pred, index)]
        )

    def _score(self, logits: Tensor, index: Tensor) -> Tensor:
        """``(C * bins, H, W)`` and ``(C, H, W)`` to ``(C, H, W)``."""
        logits = full_precision(logits).unflatten(0, (-1, self.bins))
        return F.cross_entropy(logits, index, reduction='none')

    def decode(self, pred: Tensor) -> Tensor:
        """Values in [0, 1]."""
        logits = pred.unflatten(1, (-1, self.bins))
        centres = self.centres().to(pred)
        if self.draw == 'mode':
            return centres[logits.argmax(2)]
        return torch.einsum('bckhw,k->bchw', logits.softmax(2), centres)
