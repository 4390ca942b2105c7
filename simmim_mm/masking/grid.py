"""Pure functions on token masks and patches.

Convention, everywhere in the project: a mask is boolean, ``True`` = masked (hidden from the
encoder, to be predicted), on the token grid ``(h, w)`` of the backbone; a batch is ``(B, h, w)``.
"""

import torch.nn.functional as F
from torch import Tensor

from simmim_mm._renamed import old_names


def upsample_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring a token mask to pixel (or feature) resolution by repetition.

    Args:
        mask: ``(B, h, w)`` boolean.
        size: ``(H, W)``, whole multiples of ``(h, w)``; the two factors may differ.

    Returns:
        ``(B, 1, H, W)`` boolean.

    Raises:
        ValueError: If ``size`` is not a multiple of the mask's grid.
    """
    (h, w), (H, W) = mask.shape[-2:], size
    if H % h or W % w:
        raise ValueError(
            f'a mask on a {h}x{w} token grid does not tile {H}x{W} pixels: height and width must '
            'be multiples of the grid (check the image size, patch size and mask transform)'
        )
    return mask.repeat_interleave(H // h, dim=-2).repeat_interleave(W // w, dim=-1).unsqueeze(1)


def masked_fraction(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """How much of each position is masked, on a finer or a coarser grid.

    Args:
        mask: ``(B, h, w)`` boolean.
        size: ``(H, W)``, whole multiples of ``(h, w)`` or whole divisors of it.

    Returns:
        ``(B, 1, H, W)``: boolean as of :func:`upsample_mask` on a finer grid; the masked share of
        each position, float32 in [0, 1], on a coarser one.

    Raises:
        ValueError: If the grids do not fit.
    """
    (h, w), (H, W) = mask.shape[-2:], size
    if (h > H or w > W) and h % H == 0 and w % W == 0:
        return F.avg_pool2d(mask.unsqueeze(1).float(), (h // H, w // W))
    return upsample_mask(mask, size)


def visible_ids(mask: Tensor) -> Tensor:
    """Indices of the visible tokens, in raster order.

    Args:
        mask: ``(B, h, w)`` boolean, True = masked.

    Returns:
        ``(B, n_visible)`` int64 indices into the flattened ``h * w`` grid.

    Raises:
        ValueError: If the images of the batch have unequal numbers of visible tokens, which cannot
            be gathered into one tensor. The message names the counts.
    """
    visible = ~mask.flatten(1)
    counts = visible.sum(1)
    n = int(counts[0])
    if not bool((counts == n).all()):
        raise ValueError(
            'gathering visible tokens needs the same number in every image of a batch, got '
            f'{counts.tolist()}: use a mask generator with an exact count'
        )
    return visible.nonzero()[:, 1].view(len(mask), n)


def patchify(x: Tensor, patch_size: int) -> Tensor:
    """Cut images into patches.

    Args:
        x: ``(B, C, H, W)`` with H and W multiples of ``patch_size`` p.

    Returns:
        ``(B, h, w, p * p * C)``; within a patch the order is row, column, channel (MAE's).
    """
    B, C, H, W = x.shape
    p = patch_size
    if H % p or W % p:
        raise ValueError(f'{H}x{W} pixels are not whole {p}-pixel patches')
    x = x.view(B, C, H // p, p, W // p, p)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(B, H // p, W // p, p * p * C)


def unpatchify(patches: Tensor, patch_size: int) -> Tensor:
    """Inverse of :func:`patchify`: ``(B, h, w, p * p * C)`` to ``(B, C, h * p, w * p)``."""
    B, h, w, n = patches.shape
    p = patch_size
    x = patches.view(B, h, w, p, p, n // (p * p))
    return x.permute(0, 5, 1, 3, 2, 4).reshape(B, -1, h * p, w * p)


__all__ = ['masked_fraction', 'patchify', 'unpatchify', 'upsample_mask', 'visible_ids']

__getattr__ = old_names(__name__, mask_share='masked_fraction')
