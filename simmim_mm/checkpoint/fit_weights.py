"""Weights of another window, image size or number of channels, brought to a model on loading."""

from math import isqrt
from typing import Any

import torch
from mmpretrain.models.utils import resize_pos_embed
from torch import Tensor, nn

from simmim_mm.checkpoint.position_bias import resize_position_bias

# Buffers that follow from the window or the grid, whatever a file holds: the model makes its own.
GEOMETRY = ('relative_position_index', 'relative_coords_table')
_TABLE, _COORDS = 'relative_position_bias_table', 'relative_coords_table'


def fit_state_dict(model: nn.Module, state_dict: dict, prefix: str = '') -> None:
    """Bring entries under ``prefix`` to a backbone's shapes, in place, as far as possible.

    - Tables of relative position biases are interpolated (:func:`resize_position_bias`) for other
      windows and grids; one table shared by all blocks is copied to each block where the model
      has them apart.
    - Absolute position embeddings, fixed ones too, are interpolated bicubically: a model built for
      another size then equals the old one, which interpolates in its forward.
    - The kernels of the patch embedding are fitted to other channels (:func:`fit_channels`).
    - Index tables follow from the window: the model's own are put in. Those of Swin v2's
      continuous bias keep measuring in the windows of the pretraining.

    The old grid is a square where the number of entries allows it, else it has the aspect ratio of
    the new one.
    """
    own = model.state_dict()
    _expand_shared_table(own, state_dict, prefix)
    grid: Any = getattr(model, 'patch_resolution', getattr(model, 'grid', None))
    stem = prefix + getattr(model, 'stem_weight', '')
    for name, tensor in own.items():
        key = prefix + name
        if name.endswith(GEOMETRY):
            state_dict[key] = _own_geometry(name, tensor, state_dict.get(key))
        elif key not in state_dict or state_dict[key].shape == tensor.shape:
            continue
        elif name.endswith(_TABLE):
            state_dict[key] = _fit_table(state_dict[key], tensor, grid)
        elif name in ('pos_embed', 'absolute_pos_embed') and state_dict[key].ndim == 3:
            extra = int(f'{prefix}cls_token' in state_dict)
            mode = getattr(model, 'interpolate_mode', 'bicubic')
            state_dict[key] = _fit_position_embedding(state_dict[key], tensor, grid, extra, mode)
        elif key == stem:
            state_dict[key] = fit_channels(state_dict[key], tensor.shape[1])


def fit_channels(kernel: Tensor, channels: int) -> Tensor:
    """Kernels ``(out, C, h, w)`` for another number of channels, as timm does it.

    For one channel their sum, so that a gray image gives what it gave as RGB. Else the C kernels
    again and again, times ``C / channels``, so that responses keep their size. Meant for channels
    that are each normalized to mean 0 and deviation 1.
    """
    if channels == 1:
        return kernel.sum(1, keepdim=True)
    old = kernel.shape[1]
    return kernel[:, torch.arange(channels) % old] * (old / channels)


def _expand_shared_table(own: dict, state_dict: dict, prefix: str) -> None:
    shared = f'{prefix}rel_pos_bias.{_TABLE}'
    blocks = [name for name in own if name.startswith('layers.') and name.endswith(_TABLE)]
    if shared in state_dict and blocks:
        table = state_dict.pop(shared)
        state_dict.pop(shared.replace('bias_table', 'index'), None)
        state_dict.update({prefix + name: table.clone() for name in blocks})


def _own_geometry(name: str, own: Tensor, stored: Tensor | None) -> Tensor:
    """The model's index table; of coordinates, in the unit of the pretraining if it is known."""
    if not name.endswith(_COORDS) or stored is None or 1 in (own.shape[1], stored.shape[1]):
        return own
    if abs(_unit(own) - own.shape[1] // 2) > 1e-3:  # told by pretrained_window_sizes
        return own
    if stored.shape == own.shape:
        return stored
    x = ((own.double().abs() * 3).exp2() - 1) * _unit(own) / _unit(stored)
    return (own.sign() * (1 + x).log2() / 3).to(own)


def _unit(coords: Tensor) -> float:
    """Tokens per unit, the window less one unless it was another in pretraining.

    Entries are ``sign(x) log2(1 + 8 |x| / unit) / 3``, and the next token has x = 1.
    """
    middle = coords.shape[1] // 2
    return 8 / (2 ** (3 * float(coords[0, middle, middle + 1, 1])) - 1)


def _fit_table(stored: Tensor, own: Tensor, grid: Any) -> Tensor:
    """A table of Swin's square window, or of BEiT's grid with three rows for the class token."""
    if stored.shape[1:] != own.shape[1:]:
        return stored  # other heads
    side = (isqrt(len(own)) + 1) // 2
    if (2 * side - 1) ** 2 == len(own):
        return resize_position_bias(stored, (side, side))
    for rows, cols in _pairs(len(stored) - 3):
        h, w = (rows + 1) // 2, (cols + 1) // 2
        if rows % 2 and cols % 2 and (rows == cols or h * grid[1] == w * grid[0]):
            return resize_position_bias(stored, tuple(grid), 3, source=(h, w))
    return stored


def _fit_position_embedding(
    stored: Tensor, own: Tensor, grid: tuple[int, int], old_extra: int, mode: str
) -> Tensor:
    """``(1, extra + h * w, C)``; a class token's row is dropped or taken from the model's."""
    extra = own.shape[1] - grid[0] * grid[1]
    for h, w in _pairs(stored.shape[1] - old_extra):
        if stored.shape[2] == own.shape[2] and (h == w or h * grid[1] == w * grid[0]):
            tokens = resize_pos_embed(stored[:, old_extra:], (h, w), grid, mode, 0)
            front = stored[:, :old_extra] if extra == old_extra else own[:, :extra]
            return torch.cat((front.to(tokens), tokens), dim=1)
    return stored


def _pairs(n: int) -> list[tuple[int, int]]:
    """The ways to write n as a product, the square one first."""
    pairs = [(h, n // h) for h in range(1, n + 1) if n % h == 0]
    return sorted(pairs, key=lambda pair: pair[0] != pair[1])
