"""Operations of a network: multiply-adds of its matrix products and convolutions."""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def count_operations(model: nn.Module, shape: Sequence[int]) -> int:
    """Multiply-adds of a forward pass on images of shape ``(B, C, H, W)``, attention included."""
    return sum(operations_by_module(model, shape).values())


@torch.no_grad()
def operations_by_module(model: nn.Module, shape: Sequence[int]) -> dict[str, int]:
    """Multiply-adds of each module by itself, without the modules in it, by name.

    Computed on the CPU, with attention as the products that PyTorch's counter knows: it does not
    see the fused attention of a CPU, 8% of a ViT-S.
    """
    copy = deepcopy(model).cpu().float().eval()
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        copy(torch.zeros(*shape))
    totals = {}
    for name, counts in counter.get_flop_counts().items():
        if name != 'Global':  # the rest begin with the class of the model
            totals[name.partition('.')[2]] = sum(counts.values()) // 2
    own = dict(totals)
    for name, total in totals.items():
        parent = name
        while parent:
            parent = parent.rpartition('.')[0]
            if parent in own:
                own[parent] -= total
                break
    return own
