"""What backbones in token mode share."""

import torch
from torch import Tensor

from simmim_mm._renamed import old_names
from simmim_mm.masking import upsample_mask


def check_mask(mask: Tensor, batch_size: int, grid: tuple[int, int], stride: int) -> None:
    """Refuse a mask that does not fit the tokens of the images.

    Args:
        mask: Should be ``(batch_size, *grid)``.
        batch_size: Number of images.
        grid: Rows and columns of tokens in the images.
        stride: Pixels per token, for the message.

    Raises:
        ValueError: If the batch size or the grid differs.
    """
    if mask.ndim != 3 or mask.shape[0] != batch_size:
        raise ValueError(
            f'the mask is {tuple(mask.shape)} but the batch has {batch_size} images: expected '
            f'({batch_size}, {grid[0]}, {grid[1]})'
        )
    if tuple(mask.shape[1:]) != tuple(grid):
        raise ValueError(
            f'the mask is on a {mask.shape[1]}x{mask.shape[2]} grid but the images have '
            f'{grid[0]}x{grid[1]} tokens of {stride} pixels: set the token stride of the mask '
            'transform alike'
        )


def replace_masked(x: Tensor, mask: Tensor, mask_token: Tensor) -> Tensor:
    """Put the mask token in the place of masked tokens.

    Args:
        x: ``(B, h * w, C)`` tokens in raster order.
        mask: ``(B, h, w)`` boolean, True = masked.
        mask_token: ``(1, 1, C)``.

    Returns:
        ``(B, h * w, C)``; what stood at masked places, NaN included, does not influence it.
    """
    return torch.where(mask.flatten(1).unsqueeze(-1), mask_token.to(x.dtype), x)


def replace_masked_map(x: Tensor, mask: Tensor, mask_token: Tensor) -> Tensor:
    """As :func:`replace_masked`, of a map ``(B, C, h, w)``."""
    return torch.where(mask.unsqueeze(1), mask_token.to(x.dtype).view(1, -1, 1, 1), x)


def zero_masked_pixels(x: Tensor, mask: Tensor) -> Tensor:
    """Set masked pixels to 0, the mean of normalized images.

    For stems whose kernels overlap, which would show a visible token the pixels of its masked
    neighbors.

    Args:
        x: ``(B, C, H, W)``; H and W are multiples of h and w.
        mask: ``(B, h, w)`` boolean, True = masked.
    """
    return x.masked_fill(upsample_mask(mask, x.shape[-2:]), 0.0)


__getattr__ = old_names(__name__, hide_pixels='zero_masked_pixels')
