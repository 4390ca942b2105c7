"""Attention of plain ViTs on a CPU in bfloat16, of which PyTorch's fused kernel is slow to train.

The backward pass of ``F.scaled_dot_product_attention`` on a CPU (torch 2.14) takes four to seven
times as long in bfloat16 as the products and the softmax of the formula for the few tokens of an
image that MAE encodes or decodes, and twice as long for 197 tokens. In float32, and without
gradients, it is as fast or faster.
"""

from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.models.utils import MultiheadAttention
from torch import Tensor, nn

from simmim_mm.models.backbones.cpu_linear import is_traced
from simmim_mm.processor import cpu_has_bfloat16

MAX_TOKENS = 512  # beyond, the matrix of the probabilities takes much memory and gains little


def attention(
    q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0
) -> Tensor:
    """``F.scaled_dot_product_attention``, by the formula where that is faster.

    Args:
        q: ``(B, heads, N, d)``.
        k: ``(B, heads, M, d)``.
        v: ``(B, heads, M, d)``.
        attn_mask: Boolean, True where a query may look, or float, added to the logits.
        dropout_p: Of the attention weights.

    Returns:
        ``(B, heads, N, d)``.
    """
    if attn_mask is not None or dropout_p or not _gains(q, k):
        return F.scaled_dot_product_attention(q, k, v, attn_mask, dropout_p)
    with torch.autocast('cpu', enabled=False):
        heads = q.shape[1]
        q, k, v = (x.flatten(0, 1) for x in (q, k, v))
        scale = q.shape[-1] ** -0.5  # of float32 sums, before they are rounded
        logits = torch.baddbmm(q.new_empty(1, 1, 1), q, k.transpose(1, 2), beta=0, alpha=scale)
        return torch.bmm(logits.softmax(-1), v).unflatten(0, (-1, heads))


def _gains(q: Tensor, k: Tensor) -> bool:
    """Whether there will be a backward pass, on a CPU, in bfloat16, of few tokens."""
    if is_traced(q) or q.device.type != 'cpu' or q.dtype != torch.bfloat16:
        return False
    wanted = torch.is_grad_enabled() and q.requires_grad
    return wanted and max(q.shape[2], k.shape[2]) <= MAX_TOKENS and bool(cpu_has_bfloat16())


def use_attention(model: nn.Module) -> None:
    """Let the attentions of mmpretrain in ``model`` compute by :func:`attention`."""
    for module in model.modules():
        if isinstance(module, MultiheadAttention):
            chosen: Any = module  # its own choice is made by the version of PyTorch
            chosen.scaled_dot_product_attention = attention
