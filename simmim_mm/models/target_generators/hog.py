import math

import torch
import torch.nn.functional as F
from mmpretrain.models.selfsup.maskfeat import HOGGenerator
from torch import Tensor

from simmim_mm.models.target_generators.base import TargetGenerator
from simmim_mm.registry import MODELS


class _Histograms(HOGGenerator):
    """mmpretrain's histograms as a map ``(B, 3, nbins, H / pool, W / pool)``."""

    def _reshape(self, hog_feat: Tensor) -> Tensor:
        return hog_feat  # mmpretrain's cuts it into 14 x 14 tokens, whatever the image


@MODELS.register_module()
class HOG(TargetGenerator):
    """Histograms of oriented gradients (MaskFeat, arXiv 2112.09133), by mmpretrain's generator.

    Of each channel and cell, how much gradient has which of ``bins`` orientations, scaled to unit
    length: brightness and contrast do not matter. Not an image, so there are no reconstructions.

    The target has ``C * bins`` channels (the bins of the first channel, of the second, ...) at
    ``H / cell`` x ``W / cell``. Loss: L2 (MaskFeat).

    Args:
        bins: Orientations in half a turn.
        cell: Side of a cell in pixels, a divisor of the images' height and width.
        gaussian_window: Side in pixels of the squares that the gradients are weighted in, more in
            the middle; 0 for no weighting.
    """

    requires_pixels = True
    value_range = 'features'
    invertible = False

    def __init__(self, bins: int = 9, cell: int = 8, gaussian_window: int = 16) -> None:
        super().__init__()
        self.bins = bins
        self.cell = self.stride = cell
        # mmpretrain tiles the window over squares only, and wants them to be whole
        self.unit = math.lcm(cell, gaussian_window or 1)
        self.histograms = _Histograms(bins, cell, gaussian_window)

    def out_channels(self, channels: int) -> int:
        return channels * self.bins

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to float32 ``(B, C * bins, H / cell, W / cell)``."""
        B, C, H, W = x.shape
        if H % self.cell or W % self.cell:
            raise ValueError(
                f"{H}x{W} pixels are not whole cells of {self.cell}: set HOG's cell to a divisor "
                'of height and width'
            )
        # Channels are independent, and mmpretrain's generator takes three: all channels of the
        # batch go in threes, on squares, of which the part outside the image is dropped.
        side = math.ceil(max(H, W) / self.unit) * self.unit
        planes = F.pad(x.float(), (0, 1, 0, 1), mode='reflect')  # the border that it would see
        planes = F.pad(planes, (0, side - W - 1, 0, side - H - 1)).flatten(0, 1)
        planes = F.pad(planes, (0, 0, 0, 0, 0, -len(planes) % 3))
        with torch.autocast(x.device.type, enabled=False):
            cells = self.histograms(planes.unflatten(0, (-1, 3))).flatten(0, 1)
        h, w = H // self.cell, W // self.cell
        return cells[: B * C, :, :h, :w].reshape(B, C * self.bins, h, w)

    def invert(self, *args, **kwargs) -> Tensor:
        raise ValueError('HOG features cannot be brought back to pixels')
