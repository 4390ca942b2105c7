"""Linear layers on a CPU by oneDNN, where PyTorch takes a slower library.

PyTorch computes products of float32 matrices by MKL, which is slow on processors of AMD with
AVX-512. oneDNN, which PyTorch has for bfloat16 and for its compiler, takes half the time. The
arithmetic is the same, in another order.
"""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.transformer import PatchEmbed
from mmcv.cnn.bricks.wrappers import Conv2d as MMCVConv2d
from mmcv.cnn.bricks.wrappers import Linear as MMCVLinear
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from simmim_mm.processor import cpu_is_amd_avx512


def is_traced(x: Tensor) -> bool:
    """Whether a tracer records what is done to ``x``: export, compile, jit, a fake tensor."""
    traced = torch.jit.is_tracing()  # type: ignore[reportPrivateImportUsage]  # it is documented
    return traced or torch.compiler.is_compiling() or type(x) is not Tensor


@cache
def _one_dnn() -> Any:
    """PyTorch's operator for ``x w^T + b`` by oneDNN, which Inductor calls; None without one."""
    if not torch.backends.mkldnn.is_available():
        return None
    return getattr(torch.ops.mkldnn, '_linear_pointwise', None)


def _product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """``a b^T + bias``."""
    return _one_dnn()(a, b, bias, 'none', [], '')


class CPULinear(torch.autograd.Function):
    """``x w^T + b`` of rows ``(M, K)``, all of float32."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]  # names
        x, weight = ctx.saved_tensors
        dx = dweight = dbias = None
        grad = grad.contiguous()
        if ctx.needs_input_grad[0]:
            dx = _product(grad, weight.t())
        if ctx.needs_input_grad[1]:
            if x.shape[1] >= grad.shape[1]:  # fast where the result has the longer rows
                dweight = _product(grad.t(), x.t())
            else:
                dweight = _product(x.t(), grad.t()).t()
        if ctx.needs_input_grad[2]:
            dbias = grad.sum(0)
        return dx, dweight, dbias


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear``; on a CPU that gains by it, the same by oneDNN."""
    if not _gains(x):
        return F.linear(x, weight, bias)
    out = CPULinear.apply(x.reshape(-1, x.shape[-1]), weight, bias)
    return out.view(*x.shape[:-1], -1)


def _gains(x: Tensor) -> bool:
    """Whether oneDNN is faster; in bfloat16 PyTorch takes it, too, with less around it."""
    if is_traced(x) or x.device.type != 'cpu' or x.dtype != torch.float32 or not x.numel():
        return False
    if torch.is_autocast_enabled('cpu') and torch.get_autocast_dtype('cpu') != torch.float32:
        return False
    return cpu_is_amd_avx512() and _one_dnn() is not None


class FastLinear(nn.Linear):
    """Takes the place of a linear layer, with its weights, and computes by :func:`linear`."""

    def __init__(self, layer: nn.Linear) -> None:
        biased = layer.bias is not None
        super().__init__(layer.in_features, layer.out_features, biased, device='meta')
        self.weight, self.bias = layer.weight, layer.bias
        self.train(layer.training)

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


class FastPatchConv(nn.Conv2d):
    """Takes the place of a convolution of patches without overlap: a linear layer on each patch."""

    def __init__(self, layer: nn.Conv2d) -> None:
        size, biased = layer.kernel_size, layer.bias is not None
        channels = layer.in_channels, layer.out_channels
        super().__init__(*channels, size, size, bias=biased, device='meta')  # pyright: ignore[reportArgumentType]  # two numbers, as kernel and as stride
        self.weight, self.bias = layer.weight, layer.bias
        self.train(layer.training)

    @staticmethod
    def suits(layer: nn.Conv2d) -> bool:
        """Whether neighboring patches neither overlap nor leave a gap."""
        usual = layer.padding, layer.dilation, layer.groups
        return layer.kernel_size == layer.stride and usual == ((0, 0), (1, 1), 1)

    def forward(self, input: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C_out, H / p, W / q)``, in memory with the channels last."""
        if not _gains(input):
            return super().forward(input)
        p, q = self.kernel_size
        h, w = input.shape[2] // p, input.shape[3] // q
        patches = input[:, :, : h * p, : w * q].unflatten(3, (w, q)).unflatten(2, (h, p))
        patches = patches.permute(0, 2, 4, 1, 3, 5).flatten(3)
        return linear(patches, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


def swap_linears(model: nn.Module) -> None:
    """Exchange linear layers and patch embeddings for the fast ones; weights and keys stay."""
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.Linear) and type(child) in (nn.Linear, MMCVLinear):
                setattr(module, name, FastLinear(child))
        if isinstance(module, PatchEmbed):
            layer: Any = module.projection
            if type(layer) in (nn.Conv2d, MMCVConv2d) and FastPatchConv.suits(layer):
                module.projection = FastPatchConv(layer)
