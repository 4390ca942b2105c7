"""Which units stay: the most important ones for what they cost, to a ratio of the cost."""

from collections.abc import Mapping, Sequence
from math import ceil, prod
from typing import NamedTuple

from torch import Tensor, nn

from simmim_mm.compression.operations import operations_by_module
from simmim_mm.models.backbones.units import UnitGroup

MIN_KEPT = 0.125  # of each group: blocks without heads or channels have no form in a config


class Costs:
    """What a network costs, by the number of units that each group keeps.

    A module costs in proportion to the units of each group that has a place in its weights, so the
    total is exact.

    Args:
        parts: Cost of each part of the network, and the indices of the groups it depends on.
        counts: Number of units of each group.
    """

    def __init__(self, parts: Sequence[tuple[int, list[int]]], counts: Sequence[int]) -> None:
        self.parts, self.counts = parts, list(counts)

    @classmethod
    def of_operations(
        cls, model: nn.Module, groups: Sequence[UnitGroup], shape: Sequence[int]
    ) -> 'Costs':
        """Multiply-adds on images of a shape, see :func:`operations_by_module`."""
        own = operations_by_module(model, shape)

        def depends(name: str, group: UnitGroup) -> bool:
            return name in group.attention or any(part.module == name for part in group.parts)

        return cls._by_name(own, groups, depends)

    @classmethod
    def of_parameters(cls, model: nn.Module, groups: Sequence[UnitGroup]) -> 'Costs':
        """Number of parameters."""
        own = {name: tensor.numel() for name, tensor in model.named_parameters()}

        def depends(name: str, group: UnitGroup) -> bool:
            return any(part.tensor == name for part in group.parts)

        return cls._by_name(own, groups, depends)

    @classmethod
    def _by_name(cls, own: Mapping[str, int], groups, depends) -> 'Costs':
        parts = [
            (cost, [i for i, group in enumerate(groups) if depends(name, group)])
            for name, cost in own.items()
        ]
        return cls(parts, [group.count for group in groups])

    def total(self, kept: Sequence[int] | None = None) -> float:
        """Cost with so many units of each group; None = all."""
        ratio = [k / n for k, n in zip(self.counts if kept is None else kept, self.counts)]
        return sum(cost * prod(ratio[i] for i in touched) for cost, touched in self.parts)

    def of_unit(self, group: int) -> float:
        """What one unit of a group costs beside all others."""
        return sum(cost for cost, touched in self.parts if group in touched) / self.counts[group]


class _Chunk(NamedTuple):
    score: float
    group: int
    left: int  # units of the group when this chunk is gone


def select_units(
    groups: Sequence[UnitGroup], scores: Sequence[Tensor], costs: Costs, ratio: float
) -> list[Tensor]:
    """Units of each group to keep.

    Those of the lowest scores go first, over all groups, until the cost is at most ``ratio`` of the
    whole. Channels go by the ``step`` of their group, or by an eighth of one that is smaller than
    four steps; heads one by one. Of each group a step and an eighth stay at least.

    Args:
        groups: Of the network.
        scores: ``(count,)`` of each group, comparable between groups: importance per cost.
        costs: Of the network.
        ratio: Of the cost of the whole network.

    Returns:
        Indices of each group, ascending.

    Raises:
        ValueError: If the ratio is not reached with an eighth of every group.
    """
    chunks, orders = [], []
    for i, (group, score) in enumerate(zip(groups, scores)):
        orders.append(score.argsort(descending=True, stable=True))
        ranked = score[orders[-1]]
        width = group.count * group.size
        size = group.step if width >= 4 * group.step else width // 8
        size = 1 if group.attention else max(1, size // group.size)
        least = max(size, ceil(ceil(group.count * MIN_KEPT) / size) * size)
        for left in range(least, group.count, size):
            chunks.append(_Chunk(float(ranked[left : left + size].mean()), i, left))
    # within a group the scores fall with the rank, so that its last chunk is always first
    chunks.sort(key=lambda chunk: (chunk.score, -chunk.left))

    def kept(number: int) -> list[int]:
        left = list(costs.counts)
        for chunk in chunks[:number]:
            left[chunk.group] = min(left[chunk.group], chunk.left)
        return left

    wanted, low, high = ratio * costs.total(), 0, len(chunks)
    if costs.total(kept(high)) > wanted:
        least = costs.total(kept(high)) / costs.total()
        raise ValueError(
            f'a ratio of {ratio:g} is not reached: {least:.3f} is left when every block keeps an '
            'eighth of its units. Take a smaller architecture'
        )
    while low < high:  # the smallest number of chunks that is enough
        middle = (low + high) // 2
        low, high = (low, middle) if costs.total(kept(middle)) <= wanted else (middle + 1, high)
    return [order[:k].sort()[0] for order, k in zip(orders, kept(low))]
