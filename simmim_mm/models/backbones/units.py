"""Units of a backbone that pruning can take out: heads of an attention, channels inside a block.

What a block gives stays as wide as it is, so that decoder, neck and head fit as before.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from mmpretrain.models.utils import GRN
from torch import Tensor, nn


@dataclass(frozen=True)
class Part:
    """A tensor with a place for every unit of a group along one of its dimensions.

    That dimension is ``(lead, units, width)``, flattened: 3 leads of a ``qkv``.
    """

    tensor: str  # name in the backbone
    dim: int = 0
    lead: int = 1

    @property
    def module(self) -> str:
        return self.tensor.rpartition('.')[0]


@dataclass(frozen=True)
class UnitGroup:
    """Units of equal kind that nothing but one block sees.

    Attributes:
        argument: Argument of the backbone that has their number.
        place: Where the number stands in it: stage, block, ...
        count: Number of units.
        parts: All tensors with a place for each unit. The last is the weight of the layer that
            takes the units: without its inputs, the units are nothing to the rest.
        size: How much a unit adds to the number in the argument.
        step: Channels that go at once, so that products of what is left stay fast.
        attention: Names of the modules that compute with the heads, if they are heads.
    """

    argument: str
    place: tuple[int, ...]
    count: int
    parts: tuple[Part, ...]
    size: int = 1
    step: int = 8
    attention: tuple[str, ...] = ()

    @property
    def consumer(self) -> str:
        """Name of the layer that takes the units."""
        return self.parts[-1].module

    def index(self, tensor: Tensor, part: Part, units: Tensor) -> Tensor:
        """Positions of ``units`` in the dimension of ``part``."""
        places = torch.arange(tensor.shape[part.dim]).view(part.lead, self.count, -1)
        return places[:, units.cpu()].flatten().to(tensor.device)


def group_of(
    model: nn.Module, argument: str, place: Sequence[int], count: int, parts: Iterable[Part], **more
) -> UnitGroup:
    """A group of those of the ``parts`` that the model has."""
    found = tuple(part for part in parts if _has(model, part))
    return UnitGroup(argument, tuple(place), count, found, **more)


def _has(model: nn.Module, part: Part) -> bool:
    try:
        module = model.get_submodule(part.module)
    except AttributeError:
        return False
    # a layer without a bias has None
    return isinstance(getattr(module, part.tensor.rpartition('.')[2], None), Tensor)


def mlp_units(
    model: nn.Module, place: Sequence[int], first: str, second: str, between: Iterable[Part] = ()
) -> UnitGroup:
    """Channels from one layer to the next, and tensors between them; ``mlp_widths``."""
    count = len(model.get_parameter(f'{first}.weight'))
    parts = [Part(f'{first}.weight'), Part(f'{first}.bias'), *between, Part(f'{second}.weight', 1)]
    return group_of(model, 'mlp_widths', place, count, parts)


def head_units(
    model: nn.Module,
    place: Sequence[int],
    attention: str,
    others: Iterable[Part] = (),
    inside: str = '',
) -> UnitGroup:
    """Heads of the attention whose ``qkv`` and ``proj`` are under a name, ``num_heads``.

    Args:
        model: The backbone.
        place: See :class:`UnitGroup`.
        attention: Name of the module that computes.
        others: Tensors beside ``qkv`` and ``proj``, with names under ``attention``.
        inside: Where under ``attention`` the weights are.
    """
    path = f'{attention}.{inside}'.strip('.')
    parts = [Part(f'{path}.qkv.weight', lead=3), Part(f'{path}.qkv.bias', lead=3)]
    parts += [Part(f'{path}.{part.tensor}', part.dim, part.lead) for part in others]
    parts.append(Part(f'{path}.proj.weight', 1))
    module: Any = model.get_submodule(path)
    names = tuple(dict.fromkeys((attention, path)))
    return group_of(model, 'num_heads', place, module.num_heads, parts, attention=names)


@torch.no_grad()
def keep_units(model: nn.Module, group: UnitGroup, keep: Tensor) -> None:
    """Take all other units out of a model, in place.

    Args:
        model: The backbone whose group it is, as it was when the group was made.
        group: The group.
        keep: ``(k,)`` indices of units.
    """
    for part in group.parts:
        module, name = model.get_submodule(part.module), part.tensor.rpartition('.')[2]
        old = getattr(module, name)
        new = old.index_select(part.dim, group.index(old, part, keep))
        if isinstance(module, GRN) and name == 'gamma':  # it divides by the mean over all channels
            new *= group.count / len(keep)
            module.eps *= group.count / len(keep)
        is_weight = isinstance(old, nn.Parameter)
        setattr(module, name, nn.Parameter(new, old.requires_grad) if is_weight else new)
        _note_sizes(module, len(keep))
    for name in group.attention:
        attention: Any = model.get_submodule(name)
        if hasattr(attention, 'head_dims'):  # mmpretrain's MultiheadAttention
            attention.embed_dims = len(keep) * attention.head_dims
        if hasattr(attention, 'num_heads'):
            attention.num_heads = len(keep)


def _note_sizes(module: Any, units: int) -> None:
    """Have the attributes of a module say what its tensors are."""
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.Conv2d):
        module.out_channels, module.in_channels = module.weight.shape[:2]
    elif isinstance(module, nn.GroupNorm):
        module.num_groups, module.num_channels = units, len(module.weight)
    elif isinstance(module, _BatchNorm):
        module.num_features = len(module.weight)
    elif isinstance(module, GRN):
        module.in_channels = len(module.gamma)


@torch.no_grad()
def zero_units(model: nn.Module, group: UnitGroup, units: Tensor) -> None:
    """Set what belongs to units to zero, in place: the model then computes as without them."""
    for part in group.parts:
        tensor = getattr(model.get_submodule(part.module), part.tensor.rpartition('.')[2])
        tensor.index_fill_(part.dim, group.index(tensor, part, units), 0.0)


def unit_counts(groups: Iterable[UnitGroup]) -> dict[str, list]:
    """The arguments that say how many units there are: ``{'num_heads': [[3, 3], [6, 6], ...]}``."""
    arguments: dict[str, Any] = {}
    for group in groups:
        level: Any = arguments.setdefault(group.argument, [])
        for i in group.place[:-1]:
            level += [[] for _ in range(i + 1 - len(level))]
            level = level[i]
        level.append(group.count * group.size)
    return arguments


def narrow(model: Any, **arguments: Sequence | None) -> None:
    """Keep only as many units as the arguments of a backbone say; None keeps all.

    Raises:
        ValueError: If an argument has not a number for each place, or one that is out of range.
    """
    wanted = {argument: given for argument, given in arguments.items() if given is not None}
    groups = model.unit_groups() if wanted else []
    for argument, given in wanted.items():
        own = [group for group in groups if group.argument == argument]
        if not own:
            needed = ', '.join(f'{k}={v!r}' for k, v in model.pruned_arguments.items())
            raise ValueError(f'{argument} of single blocks needs {needed or "another backbone"}')
        dense = unit_counts(own)[argument]
        if not _alike(given, dense):
            raise ValueError(f'{argument}={given} is not of the form of {dense}')
        for group in own:
            number: Any = given
            for i in group.place:
                number = number[i]
            if not (0 < number <= group.count * group.size) or number % group.size:
                step = f' in steps of {group.size}' if group.size > 1 else ''
                raise ValueError(
                    f'{argument}={given}: {number} at {list(group.place)} is not from '
                    f'{group.size} to {group.count * group.size}{step}'
                )
            if number < group.count * group.size:
                keep_units(model, group, torch.arange(number // group.size))


def _alike(given: Any, dense: Any) -> bool:
    if isinstance(dense, int) or isinstance(given, int):
        return isinstance(given, int) and isinstance(dense, int)
    return len(given) == len(dense) and all(map(_alike, given, dense))
