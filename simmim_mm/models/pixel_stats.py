import torch
from torch import Tensor, nn


class PixelStats(nn.Module):
    """What knows by which mean and standard deviation the images were normalized.

    ``mean`` and ``std`` are ``(C, 1, 1)``, in the value range of the loaded images; until they are
    set, 0 and 1. They are not part of a checkpoint: the data preprocessor's config has them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer('mean', torch.zeros(1, 1, 1), persistent=False)
        self.register_buffer('std', torch.ones(1, 1, 1), persistent=False)

    def set_pixel_stats(self, mean: Tensor, std: Tensor) -> None:
        """Take over the statistics ``(C, 1, 1)`` by which the data preprocessor normalizes."""
        self.mean, self.std = mean.detach().clone(), std.detach().clone()


__all__ = ['PixelStats']
