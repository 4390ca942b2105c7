import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class PermuteTokens(torch.autograd.Function):
    """``x[:, order]``; the gradient is a gather by the inverse, not a slow scatter-add."""

    @staticmethod
    def forward(ctx, x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.inverse = inverse
        return x.index_select(1, order)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]  # names
        return grad.index_select(1, ctx.inverse), None, None
