from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn


class FastPatchMerging(BaseModule):
    """Takes the place of a 2x2 ``PatchMerging`` of mmcv or mmpretrain, with its weights.

    Those gather the four neighbors with ``nn.Unfold``, channel by channel, which moves single
    floats. Here whole rows are moved, neighbor by neighbor, and the (small) weights are
    brought to that order instead.

    Args:
        merging: The module to replace.
    """

    def __init__(self, merging: nn.Module) -> None:
        super().__init__()
        self.norm = merging.norm
        self.reduction = merging.reduction
        self.out_channels = merging.out_channels
        self.use_post_norm = getattr(merging, 'use_post_norm', False)

    @staticmethod
    def suits(merging: nn.Module) -> bool:
        """Whether the module is the usual one: adjacent 2x2 neighbors, padded at odd sizes."""
        sampler = merging.sampler
        geometry = (sampler.kernel_size, sampler.stride, sampler.dilation)
        return (
            geometry == ((2, 2), (2, 2), (1, 1))
            and merging.adaptive_padding is not None
            and isinstance(merging.norm, (nn.LayerNorm, type(None)))
        )

    def forward(self, x: Tensor, input_size: Sequence[int]) -> tuple[Tensor, tuple[int, int]]:
        """``(B, H * W, C)`` to ``(B, ceil(H / 2) * ceil(W / 2), C_out)``, and the new size."""
        B, _, C = x.shape
        H, W = input_size
        x = x.view(B, H, W, C)
        if H % 2 or W % 2:
            x = F.pad(x, (0, 0, 0, W % 2, 0, H % 2))
        H, W = (H + 1) // 2, (W + 1) // 2
        x = x.view(B, H, 2, W, 2 * C).transpose(2, 3).reshape(B, H * W, 4 * C)

        norm, reduction = self.norm, self.reduction
        if norm is not None and not self.use_post_norm:
            gain, shift = _rows_first(norm.weight), _rows_first(norm.bias)
            x = F.layer_norm(x, norm.normalized_shape, gain, shift, norm.eps)
        x = F.linear(x, _rows_first(reduction.weight), reduction.bias)
        if norm is not None and self.use_post_norm:
            x = norm(x)
        return x, (H, W)


def _rows_first(x: Tensor) -> Tensor:
    """Last dimension from Unfold's order (channel, neighbor) to (neighbor, channel)."""
    return x.unflatten(-1, (-1, 4)).transpose(-1, -2).flatten(-2)
