"""Pure functions on masks and patches.

Everywhere in the project a mask is boolean, ``True`` = masked (hidden from the encoder, to be
predicted). It is drawn on a grid of square blocks; what the encoder and the decoder take is on the
grid ``(h, w)`` of tokens, to which :func:`fit_mask` brings it. A batch is ``(B, h, w)``.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from simmim_mm._renamed import old_names


def fit_mask(mask: Tensor, batch_size: int, grid: tuple[int, int], stride: int) -> Tensor:
    """Bring a mask to the grid of the backbone's tokens, by repetition.

    Args:
        mask: ``(B, rows, columns)`` boolean, on the token grid or a coarser one of square blocks.
        grid: Rows and columns of tokens in the images and of the result.
        stride: Side of a token in pixels, for the message.

    Raises:
        ValueError: If the mask is of another number of images or does not cover them, or its blocks
            are not whole tokens.
    """
    if mask.ndim != 3 or len(mask) != batch_size:
        raise ValueError(
            f'the mask is {tuple(mask.shape)} but the batch has {batch_size} images: expected '
            f'({batch_size}, rows, columns)'
        )
    (rows, cols), (h, w) = mask.shape[1:], grid
    factor = h // rows
    if (rows, cols) == (h, w):
        return mask
    if (rows * factor, cols * factor) == (h, w):
        return mask.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
    what = f'a mask of {rows}x{cols} does not fit a {h}x{w} token grid of {stride} pixels a token: '
    if rows * w != cols * h:
        raise ValueError(
            what + 'its blocks would not be square; draw it after the last crop or resize'
        )
    raise ValueError(
        what + f'its blocks of {h * stride / rows:g} pixels are not whole tokens; set '
        f'mask_patch_size to a multiple of {stride}, such as {max(1, factor) * stride}, that '
        'divides height and width'
    )


def replace_masked(x: Tensor, mask: Tensor, mask_token: Tensor) -> Tensor:
    """Put the mask token in the place of masked tokens.

    What stood there, NaN included, has no influence.

    Args:
        x: ``(B, h * w, C)`` or ``(B, h * w, ..., C)`` tokens in raster order, or a map
            ``(B, C, h, w)``.
        mask: ``(B, h, w)`` boolean.
        mask_token: C values, of any shape.
    """
    token = mask_token.to(x.dtype).flatten()
    if x.ndim == 4:
        return torch.where(mask.unsqueeze(1), token.view(-1, 1, 1), x)
    return torch.where(mask.view(len(x), -1, *[1] * (x.ndim - 2)), token, x)


def zero_masked_pixels(x: Tensor, mask: Tensor) -> Tensor:
    """Set masked pixels of ``(B, C, H, W)`` to 0, the mean of normalized images.

    For stems whose kernels overlap: a visible token would see the pixels of masked neighbors.
    """
    return x.masked_fill(upsample_mask(mask, x.shape[-2:]), 0.0)


def upsample_mask(mask: Tensor, size: Sequence[int]) -> Tensor:
    """Bring a mask ``(B, h, w)`` to pixels or features, ``(B, 1, H, W)``, by repetition.

    Args:
        mask: Boolean.
        size: ``(H, W)``, whole multiples of ``(h, w)``, or ValueError; the two factors may differ.
    """
    (h, w), (H, W) = mask.shape[-2:], size
    if H % h or W % w:
        raise ValueError(
            f'a mask on a {h}x{w} token grid does not tile {H}x{W} pixels: height and width must '
            'be multiples of the grid (check the image size, patch size and mask transform)'
        )
    return mask.repeat_interleave(H // h, dim=-2).repeat_interleave(W // w, dim=-1).unsqueeze(1)


def masked_fraction(mask: Tensor, size: Sequence[int]) -> Tensor:
    """How much of each position is masked, on a finer or a coarser grid.

    Args:
        mask: ``(B, h, w)`` boolean.
        size: ``(H, W)``, whole multiples of ``(h, w)`` or whole divisors of it, or ValueError.

    Returns:
        ``(B, 1, H, W)``: boolean, as from :func:`upsample_mask`, on a finer grid; the masked
        fraction of each position, float32 in [0, 1], on a coarser one.
    """
    (h, w), (H, W) = mask.shape[-2:], size
    if (h > H or w > W) and h % H == 0 and w % W == 0:
        return F.avg_pool2d(mask.unsqueeze(1).float(), (h // H, w // W))
    return upsample_mask(mask, size)


def visible_ids(mask: Tensor) -> Tensor:
    """Indices ``(B, n_visible)`` of the visible tokens among all ``h * w``, in raster order.

    Raises:
        ValueError: If the images differ in their number of visible tokens.
    """
    return _visible_ids(mask)  # type: ignore[arg-type]  # the decorator hides the signature


@torch.compiler.disable  # how many there are depends on the mask: compiled, it breaks the graph
def _visible_ids(mask: Tensor) -> Tensor:
    visible = ~mask.flatten(1)
    counts = visible.sum(1)
    if not bool((counts == counts[0]).all()):
        raise ValueError(
            'gathering visible tokens needs the same number in every image of a batch, got '
            f'{counts.tolist()}: use a mask generator with an exact count'
        )
    return visible.nonzero()[:, 1].view(len(mask), int(counts[0]))


def patchify(x: Tensor, patch_size: int) -> Tensor:
    """Cut images ``(B, C, h * p, w * p)`` into patches of side p, ``(B, h, w, p * p * C)``.

    Within a patch the order is row, column, channel (MAE's).
    """
    (B, C, H, W), p = x.shape, patch_size
    if H % p or W % p:
        raise ValueError(f'{H}x{W} pixels are not whole {p}-pixel patches')
    x = x.view(B, C, H // p, p, W // p, p)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(B, H // p, W // p, p * p * C)


def unpatchify(patches: Tensor, patch_size: int) -> Tensor:
    """Inverse of :func:`patchify`: ``(B, h, w, p * p * C)`` to ``(B, C, h * p, w * p)``."""
    (B, h, w, n), p = patches.shape, patch_size
    x = patches.view(B, h, w, p, p, n // (p * p))
    return x.permute(0, 5, 1, 3, 2, 4).reshape(B, -1, h * p, w * p)


__getattr__ = old_names(__name__)
