"""How much each unit of a backbone matters."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from simmim_mm.models.backbones.units import UnitGroup


def loss_importance(
    backbone: nn.Module,
    groups: Sequence[UnitGroup],
    losses: Callable[[], Iterable[Tensor]],
) -> list[Tensor]:
    """What a loss loses without a unit, to first order (arXiv 1906.10771, eq. 7).

    Each unit is multiplied by a gate, which is 1. The importance is the mean over batches of the
    square of the derivative of the loss by the gate.

    Args:
        backbone: The network, in the mode in which it is to be judged.
        groups: Of the backbone.
        losses: Gives the loss of one batch after the other, computed with the backbone.

    Returns:
        ``(count,)`` float64 of each group.
    """
    gates, hooks = [], []
    for group in groups:
        consumer = backbone.get_submodule(group.consumer)
        weight = consumer.get_parameter('weight')
        gate = weight.new_ones(group.count).requires_grad_()
        gates.append(gate)
        width = weight.shape[1] // group.count
        hooks.append(consumer.register_forward_pre_hook(partial(_multiply, gate, width)))
    sums, batches = [torch.zeros(g.count, dtype=torch.float64) for g in groups], 0
    try:
        for loss in losses():
            # a gate that this batch does not pass (a branch of the network) has no derivative
            derivatives = torch.autograd.grad(loss, gates, allow_unused=True)
            for total, derivative in zip(sums, derivatives):
                if derivative is not None:
                    total += derivative.double().cpu() ** 2
            batches += 1
    finally:
        for hook in hooks:
            hook.remove()
    return [total / batches for total in sums]


def _multiply(gate: Tensor, width: int, layer: nn.Module, args: tuple) -> tuple:
    gate = gate.repeat_interleave(width)
    x = args[0]
    gate = gate.view(-1, 1, 1) if isinstance(layer, nn.Conv2d) else gate
    return (x * gate.to(x.dtype), *args[1:])


@torch.no_grad()
def weight_importance(backbone: nn.Module, group: UnitGroup) -> Tensor:
    """Norm of the weights that make a unit times norm of those that take it, mean 1: ``(count,)``.

    Where a norm layer follows, its gain is what makes the unit.
    """

    def norms(tensor: Tensor, dim: int, lead: int) -> Tensor:
        x = tensor.double().movedim(dim, 0)
        return x.reshape(lead, group.count, -1).norm(dim=(0, 2)).cpu()

    making, taking = group.parts[0], group.parts[-1]
    for part in group.parts[1:-1]:
        is_norm = isinstance(
            backbone.get_submodule(part.module), (nn.modules.batchnorm._BatchNorm, nn.GroupNorm)
        )
        if is_norm and part.tensor.endswith('.weight'):
            making = part
    product = torch.ones(group.count, dtype=torch.float64)
    for part in (making, taking):
        product *= norms(backbone.get_parameter(part.tensor), part.dim, part.lead)
    return product / product.mean().clamp_min(1e-30)
