import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from simmim_mm.models.losses.pixel_loss import PixelLoss, full_precision
from simmim_mm.registry import MODELS


@MODELS.register_module()
class GaussianLikelihood(PixelLoss):
    """Negative log-likelihood of the target under a Gaussian around the prediction.

    With x the target, mu the prediction and v the variance, but for a constant::

        (log v + (x - mu)^2 / v) / 2

    A learned variance is ``min_variance + softplus(s)``, where s is a parameter or predicted: it
    starts at ``sigma ** 2`` and has a gradient everywhere. Without a minimum the likelihood of a
    flat area, which can be predicted exactly, would have no bound.

    Args:
        variance: ``'fixed'``: ``sigma ** 2``; L2 on another scale. ``'channel'``: one is learned
            for each channel of the target, the mean squared error in the end. ``'pixel'``: the
            decoder predicts one for each value, and needs twice the channels of the target: first
            all means, then all s. Uncertain pixels then weigh less.
        sigma: Standard deviation, fixed or at the start, in units of the target.
        channels: Of the target, for ``'channel'``.
        min_variance: In squared units of the target. 1e-4 is the variance of a standard deviation
            of 0.6 gray levels, with the std of ImageNet.
    """

    def __init__(
        self,
        variance: str = 'pixel',
        sigma: float = 1.0,
        channels: int = 3,
        min_variance: float = 1e-4,
    ) -> None:
        super().__init__()
        if variance not in ('fixed', 'channel', 'pixel'):
            raise ValueError(f"variance must be 'fixed', 'channel' or 'pixel', got {variance!r}")
        if min_variance <= 0 or sigma**2 <= min_variance:
            raise ValueError(
                f'min_variance must be above 0 and below sigma ** 2, got min_variance='
                f'{min_variance}, sigma={sigma}'
            )
        self.kind, self.channels = variance, channels
        self.initial, self.minimum = sigma**2, min_variance
        self.offset = math.log(math.expm1(self.initial - min_variance))
        if variance == 'channel':  # flat, so that weight decay leaves it out
            self.s = nn.Parameter(torch.zeros(channels))

    def pred_channels(self, channels: int) -> int:
        if self.kind == 'channel' and channels != self.channels:
            raise ValueError(
                f'GaussianLikelihood learns the variance of {self.channels} channels but the '
                f'target has {channels}: set channels={channels}'
            )
        return 2 * channels if self.kind == 'pixel' else channels

    def decode(self, pred: Tensor) -> Tensor:
        """The mean."""
        return pred.chunk(2, dim=1)[0] if self.kind == 'pixel' else pred

    def variance(self, pred: Tensor) -> Tensor:
        """Variance, in squared units of the target; broadcasts to the shape of the mean."""
        if self.kind == 'fixed':
            return full_precision(pred).new_tensor(self.initial)
        s = pred.chunk(2, dim=1)[1] if self.kind == 'pixel' else self.s.view(-1, 1, 1)
        return self.minimum + F.softplus(full_precision(s) + self.offset)

    def elementwise(self, pred: Tensor, target: Tensor) -> Tensor:
        error = full_precision(self.decode(pred)) - full_precision(target)
        variance = self.variance(pred)
        return (variance.log() + error.square() / variance) / 2
