"""Queries, keys and values of the attention blocks of a network, whoever wrote it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from math import gcd, isqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def attention_modules(network: nn.Module) -> list[Any]:
    """The self-attentions of a network in their order: those with one layer ``qkv``.

    ViT, BEiT, DeiT of mmpretrain and timm; Swin of mmpretrain, and all of this package.
    """
    found: dict[str, Any] = {}
    for name, module in network.named_modules():
        inside = any(name.startswith(f'{outer}.') for outer in found)
        layer = getattr(getattr(module, 'w_msa', module), 'qkv', None)
        if isinstance(layer, nn.Linear) and not inside:
            found[name] = module
    return list(found.values())


def heads_and_width(module: Any) -> tuple[int, int]:
    """Heads of an attention, and the channels of its queries."""
    inner = getattr(module, 'w_msa', module)
    return inner.num_heads, inner.qkv.out_features // 3


@contextmanager
def record_attention(
    network: nn.Module, layers: Sequence[int], seen: dict[int, Tensor]
) -> Iterator[None]:
    """While it lasts, what goes into the attentions ``layers`` of a network is put into ``seen``.

    Under their numbers in ``layers``. The hooks are set here, outside of what may be compiled.
    """
    modules = attention_modules(network) if layers else []
    handles = [
        modules[layer].register_forward_pre_hook(partial(_note, seen, i))
        for i, layer in enumerate(layers)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        seen.clear()


def _note(seen: dict[int, Tensor], i: int, module: nn.Module, args: tuple) -> None:
    seen[i] = args[0]


def queries_keys_values(module: Any, x: Tensor) -> Tensor:
    """``(B, N, 3 * C)`` from what goes into an attention, ``(B, N, C)``.

    Of tokens in raster order, whatever windows the attention itself divides them into.
    """
    if hasattr(module, 'project'):  # this package's Swins
        return module.project(x)
    inner = getattr(module, 'w_msa', module)
    if getattr(inner, 'q_bias', None) is not None:  # BEiT
        bias = torch.cat((inner.q_bias, torch.zeros_like(inner.v_bias), inner.v_bias))
        return F.linear(x, inner.qkv.weight, bias)
    return inner.qkv(x)


def as_map(tokens: Tensor, size: Sequence[int]) -> Tensor:
    """Tokens ``(B, extra + h * w, C)`` of whole images of ``size`` pixels as ``(B, C, h, w)``.

    The grid is the largest one of the images' proportions; what is left, in front, are class and
    register tokens.
    """
    (height, width), common = size, gcd(*size)
    rows, cols = height // common, width // common
    side = isqrt(tokens.shape[1] // (rows * cols))
    h, w = side * rows, side * cols
    return tokens[:, tokens.shape[1] - h * w :].transpose(1, 2).unflatten(2, (h, w))
