"""The families of checkpoints that the converter knows.

A family is a :class:`Family` in a module of its own; to add one, write the module and name it in
:func:`families`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from simmim_mm.interop.rules import Conversion, Rule, apply_rules, undo_rules


@dataclass(frozen=True)
class Family:
    """How the checkpoints of one code base map to our models.

    Args:
        name: Short name, as for ``tools/convert.py --family``.
        title: Whose code.
        rules: Names there and here.
        detect: Whether a state dict is of this family.
        model_config: Our model config from the authors' constructor arguments.
        infer_config: Those arguments from the shapes of a state dict and from hints (the config or
            the arguments that were stored beside it, possibly empty).
        prefix: What larger models of theirs put before these names (``'vit.'``). Taken off on the
            way in where a file has it, not put on on the way back.
    """

    name: str
    title: str
    rules: tuple[Rule, ...]
    detect: Callable[[Mapping[str, Tensor]], bool]
    model_config: Callable[[dict], dict]
    infer_config: Callable[[Mapping[str, Tensor], dict], dict]
    prefix: str = ''

    def bare(self, state_dict: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The entries without the prefix."""
        if not self.prefix:
            return state_dict
        return {key.removeprefix(self.prefix): value for key, value in state_dict.items()}


def families() -> dict[str, Family]:
    """All families by name; a state dict belongs to the first that detects it."""
    from simmim_mm.interop import (
        convmae,
        huggingface,
        mae,
        openmmlab,
        simmim_swin,
        simmim_vit,
        timm,
    )

    known = (
        simmim_swin.V1,
        simmim_swin.V2,
        simmim_vit.FAMILY,
        # before MAE, whose encoder has the names of a plain ViT
        *timm.FAMILIES,
        mae.FAMILY,
        convmae.FAMILY,
        *openmmlab.FAMILIES,
        *huggingface.FAMILIES,
    )
    return {family.name: family for family in known}


def get_family(name: str) -> Family:
    """The family of that name.

    Raises:
        ValueError: If there is none; the message lists them.
    """
    if name not in families():
        raise ValueError(f'unknown family {name!r}: choose from {", ".join(families())}')
    return families()[name]


def detect_family(state_dict: Mapping[str, Tensor]) -> str:
    """Which family a state dict is of, from its names.

    Raises:
        ValueError: If it is of none; the message shows some of its names.
    """
    for family in families().values():
        if family.detect(family.bare(state_dict)):
            return family.name
    raise ValueError(
        f'the weights are of no known family ({", ".join(families())}); their first names are '
        f'{", ".join(list(state_dict)[:4])}'
    )


def model_config(family: str, config: dict) -> dict:
    """Config of our model from the authors' constructor arguments (those of the parity cases)."""
    return get_family(family).model_config(config)


def infer_config(family: str, state_dict: Mapping[str, Tensor], hints: dict | None = None) -> dict:
    """The authors' constructor arguments of a state dict.

    Args:
        family: Name of the family.
        state_dict: The authors' weights.
        hints: Config or arguments stored beside them; and arguments given by hand, by name, which
            take precedence over everything.

    Raises:
        ValueError: If something cannot be told from the shapes; the message names the argument.
    """
    found = get_family(family)
    return found.infer_config(found.bare(state_dict), dict(hints or {}))


def convert(state_dict: Mapping[str, Tensor], family: str | None = None) -> Conversion:
    """The authors' weights under our names; the family is detected if not given."""
    found = get_family(family or detect_family(state_dict))
    return apply_rules(found.rules, found.bare(state_dict), found.name)


def revert(state_dict: Mapping[str, Tensor], family: str) -> dict[str, Tensor]:
    """Our weights under the authors' names, the exact inverse of :func:`convert`.

    Attention masks of shifted windows, which the authors store and we do not, are left out; their
    code rebuilds them.
    """
    return undo_rules(get_family(family).rules, state_dict)
