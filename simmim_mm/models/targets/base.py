from collections.abc import Sequence
from typing import Optional

import torch
from torch import Tensor, nn


class TargetGenerator(nn.Module):
    """Turns normalised images into what the decoder has to predict.

    Subclasses implement :meth:`forward` and, where the result is not an image that can be shown as
    it is, :meth:`invert`. They hold no parameters: a target is a fixed function of the image.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer('mean', torch.zeros(1, 1, 1), persistent=False)
        self.register_buffer('std', torch.ones(1, 1, 1), persistent=False)

    def set_pixel_stats(self, mean: Tensor, std: Tensor) -> None:
        """Take over the statistics ``(C, 1, 1)`` by which the data preprocessor normalises."""
        self.mean, self.std = mean.detach().clone(), std.detach().clone()

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` normalised images to a target of the same shape."""
        raise NotImplementedError

    def invert(
        self, pred: Tensor, source: Tensor, mask: Optional[Tensor] = None, stats: str = 'true'
    ) -> Tensor:
        """Bring a prediction of this target back to normalised pixels, for looking at it.

        Args:
            pred: ``(B, C, H, W)``, a prediction of ``forward(source)``.
            source: ``(B, C, H, W)``, what this generator was given.
            mask: ``(B, h, w)``, True = masked.
            stats: Where statistics that the target removed come from: ``'true'``, the whole image;
                ``'visible'``, its visible part only (an honest picture: nothing leaks from under
                the mask).
        """
        return pred


class TargetSequence(nn.ModuleList):
    """Target generators applied one after the other; none = the pixels as normalised.

    PixMIM (arXiv 2303.02416) is such a sequence: a low-pass filter, then the method's own
    normalisation.
    """

    def __init__(self, generators: Sequence[TargetGenerator] = ()) -> None:
        super().__init__(generators)

    def forward(self, x: Tensor) -> Tensor:
        for generator in self:
            x = generator(x)
        return x

    def invert(
        self, pred: Tensor, x: Tensor, mask: Optional[Tensor] = None, stats: str = 'true'
    ) -> Tensor:
        """Undo the generators on ``pred``, last first; ``x`` are the normalised images."""
        sources = [x]
        for generator in self:
            sources.append(generator(sources[-1]))
        for generator, source in zip(reversed(self), reversed(sources[:-1])):
            pred = generator.invert(pred, source, mask, stats)
        return pred
