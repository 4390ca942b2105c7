"""Shifted-window attention with the weights of mmpretrain's, in fewer passes over memory.

mmpretrain rolls the map, cuts it into windows and undoes both afterwards, several copies each, and
makes the mask of the shift anew at every call. Here one gather by a cached index does both, bias
and shift mask are one tensor, and on a CPU the attention is one autograd node that keeps nothing
but queries, keys, values and probabilities. Results differ from mmpretrain by rounding only.
"""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmpretrain.models.utils import ShiftWindowMSA
from torch import Tensor
from torch.autograd.function import once_differentiable

from simmim_mm.models.backbones.cpu_linear import is_traced, linear
from simmim_mm.models.backbones.permute_tokens import PermuteTokens
from simmim_mm.models.backbones.visible_windows import VisibleTokens, WindowGroups
from simmim_mm.processor import cpu_has_bfloat16


class WindowLayout(NamedTuple):
    """Where the tokens of a map lie among its windows.

    ``order`` takes tokens from raster order to ``(window, token of the window)``, ``inverse`` back.
    ``shift_mask`` is ``(n_windows, 1, N, N)`` float: -100 between tokens that only the roll made
    neighbors, as the authors have it, else 0; None without a shift.
    """

    order: Tensor
    inverse: Tensor
    shift_mask: Tensor | None


def window_layout(H: int, W: int, window: int, shift: int, device: torch.device) -> WindowLayout:
    """Layout of ``H x W`` tokens, multiples of ``window``, rolled by ``-shift``."""

    def windows(x: Tensor) -> Tensor:
        x = x.view(H // window, window, W // window, window)
        return x.transpose(1, 2).reshape(-1, window**2)

    order = windows(torch.arange(H * W).view(H, W).roll((-shift, -shift), (0, 1))).flatten()
    inverse = torch.arange(H * W).view(H // window, W // window, window, window)
    inverse = inverse.transpose(1, 2).reshape(H, W).roll((shift, shift), (0, 1)).flatten()
    shift_mask = None
    if shift:
        # After the roll, up to two seams cross a window; each token is in one of 3 x 3 regions.
        rows, cols = (
            (torch.arange(n) >= n - window).int() + (torch.arange(n) >= n - shift) for n in (H, W)
        )
        region = windows(3 * rows[:, None] + cols)
        apart = region[:, None, :] != region[:, :, None]
        shift_mask = torch.zeros(apart.shape).masked_fill_(apart, -100.0)[:, None].to(device)
    return WindowLayout(order.to(device), inverse.to(device), shift_mask)


# Kept where no tracer records: its tensors are of no use outside. Compiled, they are constants.
kept_layout = lru_cache(maxsize=64)(torch.inference_mode(False)(window_layout))


@torch.compiler.assume_constant_result
def _constant_layout(*args: Any) -> WindowLayout:
    return kept_layout(*args)


def permute_tokens(x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
    """``x[:, order]``."""
    return x.index_select(1, order) if is_traced(x) else PermuteTokens.apply(x, order, inverse)


# A shift mask of -100 makes probabilities of e^-100: subnormal numbers, at which products on Intel
# CPUs are ten times slower. So logits are kept above the highest of their row less this: e^-40 is
# still nothing beside 1, and times a small gradient it is still a normal number.
_LOGIT_RANGE = 40.0


class CPUAttention(torch.autograd.Function):
    """``softmax(scale q k^T + bias) v`` of many small windows, with a gradient for the bias.

    The fused CPU kernel of ``F.scaled_dot_product_attention`` does not give that gradient and its
    fallback is slower than this. Keys and values are transposed in memory first: for matrices this
    small, MKL takes two to four times as long when it has to transpose them itself.

    Computes in the dtype of the bias, float32. Under autocast, on a processor with bfloat16
    instructions, the four products take and give bfloat16, as autocast has it (a third of the
    time); without such instructions nothing would be gained. The softmax is float32 always.
    """

    @staticmethod
    def forward(ctx, qkv: Tensor, bias: Tensor, scale: float) -> Tensor:
        """Shapes as in :func:`window_attention`."""
        B, N, _, heads, d = qkv.shape
        dtype = qkv.dtype if qkv.dtype == torch.bfloat16 and cpu_has_bfloat16() else bias.dtype
        with torch.autocast('cpu', enabled=False):
            # (B, N, 3, heads, d) to three of (B * heads, N, d)
            q, k, v = (_swapped(part, dtype).flatten(0, 1) for part in qkv.unbind(2))
            logits = _scaled_bmm(q, k.transpose(1, 2).contiguous(), scale)
            logits = logits.view(-1, len(bias), heads, N, N)
            logits = logits.add_(bias) if logits.dtype == bias.dtype else logits + bias
            if len(bias) > 1:
                floor = logits.amax(-1, keepdim=True).sub_(_LOGIT_RANGE)
                torch.maximum(logits, floor, out=logits)
            p = logits.softmax(-1).to(dtype).view(-1, N, N)
            out = torch.bmm(p, v).view(B, heads, N, d)
        ctx.save_for_backward(q, k, v, p)
        ctx.scale, ctx.heads, ctx.n_bias = scale, heads, len(bias)
        ctx.dtypes = qkv.dtype, bias.dtype
        return _swapped(out, qkv.dtype).flatten(2)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]  # names
        q, k, v, p = ctx.saved_tensors
        (_, N, d), heads = q.shape, ctx.heads
        dtype, bias_dtype = ctx.dtypes
        grad = _swapped(grad.unflatten(2, (heads, d)), q.dtype).flatten(0, 1)
        dqkv = torch.empty(len(q) // heads, N, 3, heads, d, dtype=dtype)

        def put(i: int, x: Tensor) -> None:
            dqkv[:, :, i] = x.view(-1, heads, N, d).transpose(1, 2)

        put(2, torch.bmm(p.transpose(1, 2), grad))
        dp = torch.bmm(grad, v.transpose(1, 2).contiguous())
        dlogits = torch.ops.aten._softmax_backward_data(dp, p, -1, p.dtype)
        dbias = dlogits.view(-1, ctx.n_bias, heads, N, N).sum(0, dtype=bias_dtype)
        put(0, _scaled_bmm(dlogits, k, ctx.scale))
        put(1, _scaled_bmm(dlogits.transpose(1, 2), q, ctx.scale))
        return dqkv, dbias, None


def _swapped(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Dimensions 1 and 2 exchanged, in memory and in one pass."""
    return x.transpose(1, 2).to(dtype, copy=True, memory_format=torch.contiguous_format)


def _scaled_bmm(a: Tensor, b: Tensor, scale: float) -> Tensor:
    return torch.baddbmm(a.new_empty(1, 1, 1), a, b, beta=0, alpha=scale)


def window_attention(qkv: Tensor, bias: Tensor, scale: float, dropout: float = 0.0) -> Tensor:
    """Attention within each window, ``(B * n_windows, N, heads * d)``.

    Args:
        qkv: ``(B * n_windows, N, 3, heads, d)``.
        bias: ``(n_windows or 1, heads, N, N)`` float32, added to the logits.
        scale: Factor of the logits.
        dropout: Of the attention weights.
    """
    if qkv.device.type == 'cpu' and not dropout and not is_traced(qkv):
        return CPUAttention.apply(qkv, bias, scale)
    return fused_attention(qkv, bias, scale, dropout)


def fused_attention(qkv: Tensor, bias: Tensor, scale: float, dropout: float = 0.0) -> Tensor:
    """:func:`window_attention` by PyTorch's kernels, which on a GPU give the bias its gradient."""
    q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    if len(bias) > 1:  # of a shift: differs from window to window
        bias = bias.expand(q.shape[0] // len(bias), *bias.shape).flatten(0, 1)
    out = F.scaled_dot_product_attention(q, k, v, bias.to(q.dtype), dropout, scale=scale)
    return out.transpose(1, 2).flatten(2)


class ShiftedWindowAttention(BaseModule):
    """Takes the place of a ``ShiftWindowMSA`` of mmpretrain, with its weights and their names."""

    def __init__(self, msa: ShiftWindowMSA) -> None:
        super().__init__()
        self.w_msa: Any = msa.w_msa
        self.drop: Any = msa.drop
        self.window_size, self.shift_size = msa.window_size, msa.shift_size
        self.pad_small_map = msa.pad_small_map

    def forward(self, x: Tensor, hw_shape: tuple[int, int] | VisibleTokens) -> Tensor:
        """``(B, H * W, C)`` tokens in raster order to the same; or visible tokens only.

        A map that is not a multiple of the window is padded with zeros on the right and below; as
        in mmpretrain and mmdet, the padding takes part as keys. A map that one window spans in a
        direction is not shifted, unless ``pad_small_map``.
        """
        if isinstance(hw_shape, VisibleTokens):
            return self.drop(self.among_visible(x, hw_shape))
        B, _, C = x.shape
        H, W = hw_shape
        window, msa = self.window_size, self.w_msa
        shift = self.shift_size if self.pad_small_map or min(H, W) > window else 0

        pad_r, pad_b = -W % window, -H % window
        if pad_r or pad_b:
            x = F.pad(x.view(B, H, W, C), (0, 0, 0, pad_r, 0, pad_b)).flatten(1, 2)
        H_pad, W_pad = H + pad_b, W + pad_r
        make = window_layout if is_traced(x) else kept_layout
        make = _constant_layout if torch.compiler.is_dynamo_compiling() else make
        layout = make(H_pad, W_pad, window, shift, x.device)

        windows = permute_tokens(x, layout.order, layout.inverse).view(-1, window**2, C)
        qkv = self.project(windows).unflatten(2, (3, msa.num_heads, -1))
        out = msa.proj_drop(msa.proj(self.attend(qkv, layout.shift_mask)))
        out = permute_tokens(out.view(B, -1, C), layout.inverse, layout.order)

        if pad_r or pad_b:
            out = out.view(B, H_pad, W_pad, C)[:, :H, :W].reshape(B, H * W, C)
        return self.drop(out)

    def among_visible(self, x: Tensor, visible: VisibleTokens) -> Tensor:
        """The same for visible tokens ``(B, n, C)``, by window groups."""
        msa, whole = self.w_msa, min(visible.size) <= self.window_size and not self.pad_small_map
        groups = visible.groups(self.window_size, 0 if whole else self.shift_size)
        qkv = self.project(groups.split(x)).unflatten(2, (3, msa.num_heads, -1))
        return msa.proj_drop(msa.proj(groups.join(self.attend(qkv, groups), len(x))))

    def project(self, x: Tensor) -> Tensor:
        """Tokens ``(..., C)`` to queries, keys and values ``(..., 3 * C)``."""
        return self.w_msa.qkv(x)

    def attend(self, qkv: Tensor, shift_mask: Tensor | WindowGroups | None) -> Tensor:
        """``(B * n_windows, N, 3, heads, d)`` to ``(B * n_windows, N, C)``."""
        msa = self.w_msa
        bias = self.gather_bias(msa.relative_position_bias_table, shift_mask)
        return window_attention(qkv, bias, msa.scale, self.dropout)

    @property
    def dropout(self) -> float:
        """Dropout of the attention weights, 0 outside training."""
        return self.w_msa.attn_drop.p if self.training else 0.0

    def gather_bias(self, table: Tensor, shift_mask: Tensor | WindowGroups | None) -> Tensor:
        """Bias of each pair of tokens, ``(n_windows or 1, heads, N, N)``; or of slots of groups."""
        index = self.w_msa.relative_position_index
        bias = table.index_select(0, index.flatten()).view(*index.shape, -1).permute(2, 0, 1)
        if isinstance(shift_mask, WindowGroups):
            return shift_mask.bias(bias[None])
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
        return linear(x, msa.qkv.weight, bias)

    def attend(self, qkv: Tensor, shift_mask: Tensor | WindowGroups | None) -> Tensor:
        msa, dtype = self.w_msa, qkv.dtype
        with torch.autocast(qkv.device.type, enabled=False):
            table = msa.cpb_mlp(msa.relative_coords_table).view(-1, msa.num_heads)
            bias = self.gather_bias(16 * table.sigmoid(), shift_mask)
            # the learned scale goes to the queries
            scale = msa.logit_scale.clamp(max=math.log(self.max_scale)).exp()
            scale = torch.stack((scale, torch.ones_like(scale))).view(2, -1, 1)
            qk, v = qkv.float().split((2, 1), dim=2)
            qk = qk * (scale / qk.norm(dim=-1, keepdim=True).clamp_min(1e-12))
            return window_attention(torch.cat((qk, v), 2), bias, 1.0, self.dropout).to(dtype)
