"""Between a map in raster order and its (shifted) windows."""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class WindowLayout(NamedTuple):
    """Where the tokens of a map lie among its windows.

    ``order`` takes tokens from raster order to ``(window, token of the window)``, ``inverse`` back.
    ``shift_mask`` is ``(n_windows, 1, N, N)`` float: -100 between tokens that only the roll made
    neighbors, as the authors have it, else 0; None without a shift.
    """

    order: Tensor
    inverse: Tensor
    shift_mask: Tensor | None


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def window_layout(H: int, W: int, window: int, shift: int, device: torch.device) -> WindowLayout:
    """Layout of ``H x W`` tokens, multiples of ``window``, rolled by ``-shift``."""

    def windows(x: Tensor) -> Tensor:
        x = x.view(H // window, window, W // window, window)
        return x.transpose(1, 2).reshape(-1, window**2)

    order = windows(torch.arange(H * W).view(H, W).roll((-shift, -shift), (0, 1))).flatten()
    shift_mask = None
    if shift:
        # After the roll, up to two seams cross a window; each token is in one of 3 x 3 regions.
        rows, cols = (
            (torch.arange(n) >= n - window).int() + (torch.arange(n) >= n - shift) for n in (H, W)
        )
        region = windows(3 * rows[:, None] + cols)
        apart = region[:, None, :] != region[:, :, None]
        shift_mask = torch.zeros(apart.shape).masked_fill_(apart, -100.0)[:, None].to(device)
    return WindowLayout(order.to(device), order.argsort().to(device), shift_mask)


class PermuteTokens(torch.autograd.Function):
    """``x[:, order]``; the gradient is a gather by the inverse, not a slow scatter-add."""

    @staticmethod
    def forward(ctx, x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.inverse = inverse
        return x.index_select(1, order)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        return grad.index_select(1, ctx.inverse), None, None
