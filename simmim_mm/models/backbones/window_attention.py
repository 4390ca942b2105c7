"""Shifted-window attention with the weights of mmpretrain's, in fewer passes over memory.

mmpretrain rolls the map, cuts it into windows, splits the heads and undoes all this afterwards, one
copy each, and rebuilds the mask of the shift at every call. Here one gather by a cached index does
roll, windows and heads at once; bias and shift mask are one tensor; and on a CPU the attention is
one autograd node that keeps the probabilities only. Results differ from mmpretrain's by rounding.
"""

import math
from functools import lru_cache
from typing import NamedTuple, Optional

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmpretrain.models.utils import ShiftWindowMSA
from torch import Tensor
from torch.autograd.function import once_differentiable


class WindowLayout(NamedTuple):
    """Where rows of ``d`` channels, one head of one token each, lie among the windows.

    ``split`` takes the rows ``(image, y, x, i, head)`` of a joint projection, i = query, key or
    value, to ``(i, image, window, head, token)``, and ``unsplit`` back; ``gather`` and ``ungather``
    do the same without ``i``. ``shift_mask`` is ``(n_windows, 1, N, N)`` float: -100 between tokens
    that the roll made neighbours, as the authors have it, else 0. None without a shift.
    """

    split: Tensor
    unsplit: Tensor
    gather: Tensor
    ungather: Tensor
    shift_mask: Optional[Tensor]


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def window_layout(
    batch: int, H: int, W: int, window: int, shift: int, heads: int, device: torch.device
) -> WindowLayout:
    """Indices for a map of ``H x W`` tokens, multiples of ``window``, rolled by ``-shift``."""

    def windows(x: Tensor) -> Tensor:  # (..., H, W) to (..., n_windows, N)
        x = x.roll((-shift, -shift), (-2, -1)).unflatten(-1, (-1, window))
        return x.unflatten(-3, (-1, window)).transpose(-3, -2).flatten(-2).flatten(-3, -2)

    token = windows(torch.arange(batch * H * W).view(batch, H, W))
    head = torch.arange(heads)[:, None]
    gather = token[:, :, None] * heads + head
    part = torch.arange(3).view(3, 1, 1, 1, 1)
    split = (token[:, :, None] * 3 + part) * heads + head

    shift_mask = None
    if shift:
        # Each token belongs to one of 3 x 3 regions; a window must not look across them.
        rows, cols = (
            (torch.arange(n) >= n - window).int() + (torch.arange(n) >= n - shift) for n in (H, W)
        )
        region = 3 * rows[:, None] + cols
        # the regions are those of the map after the roll
        region = windows(region.roll((shift, shift), (0, 1)))
        apart = region[:, None, :] != region[:, :, None]
        shift_mask = torch.zeros(apart.shape).masked_fill_(apart, -100.0)[:, None].to(device)

    split, gather = split.flatten(), gather.flatten()
    indices = (split, split.argsort(), gather, gather.argsort())
    return WindowLayout(*(index.to(device) for index in indices), shift_mask)


class PermuteRows(torch.autograd.Function):
    """``x[index]`` for a permutation; its gradient is a gather too, not a slow scatter-add."""

    @staticmethod
    def forward(ctx, x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.inverse = inverse
        return x.index_select(0, index)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        return grad.index_select(0, ctx.inverse), None, None


class CPUAttention(torch.autograd.Function):
    """``softmax(scale q k^T + bias) v`` of many small windows, with a gradient for the bias.

    The fused CPU kernel of ``F.scaled_dot_product_attention`` does not give that gradient and its
    fallback is slower than this. Keys and values are transposed in memory first: for matrices this
    small, MKL takes two to four times as long when it has to transpose them itself.

    Logits and softmax are float32 also when ``qkv`` is of half precision.
    """

    @staticmethod
    def forward(ctx, qkv: Tensor, bias: Tensor, scale: float) -> Tensor:
        """Shapes as in :func:`window_attention`."""
        q, k, v = qkv.flatten(1, 3)
        logits = _scaled_bmm(q, k.transpose(1, 2).contiguous(), scale).to(bias.dtype)
        logits.view(*qkv.shape[1:5], -1).add_(bias)
        p = logits.softmax(-1).to(qkv.dtype)
        ctx.save_for_backward(qkv, p)
        ctx.scale, ctx.bias = scale, (bias.shape[0], bias.dtype)
        return torch.bmm(p, v).view(qkv.shape[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        qkv, p = ctx.saved_tensors
        n_windows, dtype = ctx.bias
        q, k, v = qkv.flatten(1, 3)
        grad = grad.flatten(0, 2)
        dqkv = torch.empty_like(qkv)
        dq, dk, dv = dqkv.flatten(1, 3)
        torch.bmm(p.transpose(1, 2), grad, out=dv)
        dp = torch.bmm(grad, v.transpose(1, 2).contiguous())
        dlogits = torch.ops.aten._softmax_backward_data(dp.to(dtype), p.to(dtype), -1, dtype)
        dbias = dlogits.view(-1, n_windows, *qkv.shape[3:5], qkv.shape[4]).sum(0)
        dlogits = dlogits.to(qkv.dtype)
        _scaled_bmm(dlogits, k, ctx.scale, out=dq)
        _scaled_bmm(dlogits.transpose(1, 2), q, ctx.scale, out=dk)
        return dqkv, dbias, None


def _scaled_bmm(a: Tensor, b: Tensor, scale: float, out: Optional[Tensor] = None) -> Tensor:
    zero = out if out is not None else a.new_empty(1, 1, 1)
    return torch.baddbmm(zero, a, b, beta=0, alpha=scale, out=out)


def window_attention(qkv: Tensor, bias: Tensor, scale: float, dropout: float = 0.0) -> Tensor:
    """Attention within each window.

    Args:
        qkv: ``(3, B, n_windows, heads, N, d)``, contiguous.
        bias: ``(n_windows or 1, heads, N, N)`` float32, added to the logits.
        scale: Factor of the logits.
        dropout: Of the attention weights.

    Returns:
        ``(B, n_windows, heads, N, d)``.
    """
    if qkv.device.type == 'cpu' and not dropout:
        return CPUAttention.apply(qkv, bias, scale)
    return fused_attention(qkv, bias, scale, dropout)


def fused_attention(qkv: Tensor, bias: Tensor, scale: float, dropout: float = 0.0) -> Tensor:
    """:func:`window_attention` by PyTorch's kernels, which on a GPU give the bias its gradient."""
    B, n_windows = qkv.shape[1:3]
    if len(bias) > 1:  # of a shift: differs from window to window
        bias = bias.expand(B, -1, -1, -1, -1).flatten(0, 1)
    q, k, v = qkv.flatten(1, 2)
    out = F.scaled_dot_product_attention(q, k, v, bias.to(q.dtype), dropout, scale=scale)
    return out.unflatten(0, (B, n_windows))


class ShiftedWindowAttention(BaseModule):
    """Takes the place of a ``ShiftWindowMSA`` of mmpretrain, with its weights and their names.

    Args:
        msa: The module to replace.
    """

    def __init__(self, msa: ShiftWindowMSA) -> None:
        super().__init__()
        self.w_msa = msa.w_msa
        self.drop = msa.drop
        self.window_size = msa.window_size
        self.shift_size = msa.shift_size
        self.pad_small_map = msa.pad_small_map

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """``(B, H * W, C)`` tokens in raster order to the same.

        A map that is not a multiple of the window is padded with zeros on the right and below; as
        in mmpretrain and mmdet, the padding takes part as keys. A map that one window spans in a
        direction is not shifted, unless ``pad_small_map``.
        """
        B, _, C = x.shape
        H, W = hw_shape
        window, msa = self.window_size, self.w_msa
        shift = self.shift_size if self.pad_small_map or min(H, W) > window else 0

        pad_r, pad_b = -W % window, -H % window
        if pad_r or pad_b:
            x = F.pad(x.view(B, H, W, C), (0, 0, 0, pad_r, 0, pad_b)).flatten(1, 2)
        H_pad, W_pad = H + pad_b, W + pad_r
        heads = msa.num_heads
        layout = window_layout(B, H_pad, W_pad, window, shift, heads, x.device)

        qkv = PermuteRows.apply(self.project(x).view(-1, C // heads), layout.split, layout.unsplit)
        qkv = qkv.view(3, B, -1, heads, window**2, C // heads)
        out = self.attend(qkv, layout.shift_mask)
        out = PermuteRows.apply(out.view(-1, C // heads), layout.ungather, layout.gather)

        out = out.view(B, H_pad, W_pad, C)
        if pad_r or pad_b:
            out = out[:, :H, :W]
        out = msa.proj_drop(msa.proj(out.reshape(B, H * W, C)))
        return self.drop(out)

    def project(self, x: Tensor) -> Tensor:
        """Queries, keys and values ``(B, L, 3 * C)``."""
        return self.w_msa.qkv(x)

    def attend(self, qkv: Tensor, shift_mask: Optional[Tensor]) -> Tensor:
        """``(3, B, n_windows, heads, N, d)`` to ``(B, n_windows, heads, N, d)``."""
        msa = self.w_msa
        bias = self.gather_bias(msa.relative_position_bias_table, shift_mask)
        return window_attention(qkv, bias, msa.scale, self.dropout)

    @property
    def dropout(self) -> float:
        """Dropout of the attention weights, 0 outside training."""
        return self.w_msa.attn_drop.p if self.training else 0.0

    def gather_bias(self, table: Tensor, shift_mask: Optional[Tensor]) -> Tensor:
        """Bias of each pair of tokens, ``(n_windows or 1, heads, N, N)``."""
        index = self.w_msa.relative_position_index
        bias = table.index_select(0, index.flatten()).view(*index.shape, -1).permute(2, 0, 1)
        return bias[None] if shift_mask is None else bias + shift_mask


class CosineWindowAttention(ShiftedWindowAttention):
    """The same for Swin v2: cosine similarity, continuous position bias (arXiv 2111.09883, 3.3).

    Logits, bias and softmax are float32 also under autocast: with a logit scale of up to 100, the
    rounding of bfloat16 would be errors of tenths.
    """

    max_scale = 100.0

    def project(self, x: Tensor) -> Tensor:
        msa, bias = self.w_msa, None
        if msa.q_bias is not None:
            bias = torch.cat((msa.q_bias, torch.zeros_like(msa.v_bias), msa.v_bias))
        return F.linear(x, msa.qkv.weight, bias)

    def attend(self, qkv: Tensor, shift_mask: Optional[Tensor]) -> Tensor:
        msa, dtype = self.w_msa, qkv.dtype
        with torch.autocast(qkv.device.type, enabled=False):
            table = msa.cpb_mlp(msa.relative_coords_table).view(-1, msa.num_heads)
            bias = self.gather_bias(16 * table.sigmoid(), shift_mask)
            # the learned scale goes to the queries
            scale = msa.logit_scale.clamp(max=math.log(self.max_scale)).exp()
            scale = torch.stack((scale, torch.ones_like(scale))).view(2, 1, 1, -1, 1, 1)
            qk, v = qkv.float().split((2, 1))
            qk = qk * (scale / qk.norm(dim=-1, keepdim=True).clamp_min(1e-12))
            return window_attention(torch.cat((qk, v)), bias, 1.0, self.dropout).to(dtype)
