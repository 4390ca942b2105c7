"""A backbone as another library has it, before it is written."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn


class ExportError(ValueError):
    """An export that is not possible; the message says why and what to do instead."""


@dataclass
class Export:
    """What one of our backbones is in another library.

    Attributes:
        target: Name of the library, as in ``--to``.
        architecture: Its class, or the name of its model.
        arguments: Those of the architecture, so that it is the same network.
        state_dict: The weights under its names.
        ours: The backbone whose features it has to repeat, in evaluation mode.
        size: Height and width in pixels for which both are built.
        fresh: Names, with ``*``, that the architecture has and the pretraining has not, to the
            reason; their weights stay as the library initializes them.
        notes: What its user should know, a sentence each.
    """

    target: str
    architecture: str
    arguments: dict[str, Any]
    state_dict: dict[str, Tensor]
    ours: nn.Module
    size: tuple[int, int]
    fresh: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
