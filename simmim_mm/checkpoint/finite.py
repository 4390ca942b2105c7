"""Weights that are NaN or infinite: what a training that has diverged leaves behind."""

from collections.abc import Mapping
from os import PathLike
from typing import Any

import torch
from torch import Tensor

from simmim_mm.checkpoint.fit_weights import GEOMETRY
from simmim_mm.checkpoint.safe_load import CheckpointError


def non_finite(state_dict: Mapping[str, Any]) -> list[str]:
    """Names of the tensors with a NaN or an infinity; tables that models build do not count."""
    return [
        name
        for name, value in state_dict.items()
        if isinstance(value, Tensor) and not name.endswith(GEOMETRY) and not _is_finite(value)
    ]


def require_finite(state_dict: Mapping[str, Any], file: str | PathLike[str] = '') -> None:
    """Raise a CheckpointError if a weight is NaN or infinite.

    Args:
        state_dict: Tensors by name.
        file: Where they are from, for the message.
    """
    names = non_finite(state_dict)
    if names:
        raise CheckpointError(
            f'{file or "the checkpoint"} holds NaN or infinity in {len(names)} of '
            f'{len(state_dict)} weights, such as {names[0]}: its training had diverged. Take an '
            'earlier checkpoint'
        )


def _is_finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())
