"""Relative position biases for another window or grid."""

import math

import numpy as np
import torch
from torch import Tensor


def resize_position_bias(
    table: Tensor, window: tuple[int, int], num_extra_tokens: int = 0
) -> Tensor:
    """Interpolate a table of relative position biases, the authors' way (SimMIM, as BEiT).

    Near positions matter more than far ones, so the old offsets are spread in a geometric
    progression over the new range (the central ones stay one pixel apart), and a bicubic spline
    through them is read at whole offsets.

    Args:
        table: ``((2 s - 1)^2 + num_extra_tokens, heads)`` of a square window of side s, the offset
            of the row varying slowest; the extra rows (class token) come last and are kept.
        window: Height and width of the new window in tokens.
        num_extra_tokens: Number of extra rows.

    Returns:
        ``((2 h - 1) (2 w - 1) + num_extra_tokens, heads)``, in the dtype of ``table``.

    Raises:
        ValueError: If the table is not of a square window.
    """
    n = len(table) - num_extra_tokens
    source = math.isqrt(max(n, 0))
    if source**2 != n or source % 2 == 0:
        raise ValueError(
            f'cannot resize a relative position bias table of {len(table)} rows: '
            f'{n} is not (2 s - 1)^2 of a square window of side s'
        )
    rows, cols = (2 * side - 1 for side in window)
    if rows == cols == source:
        return table
    if source == 1:  # one offset: nothing to interpolate
        return torch.cat([table[:n].expand(rows * cols, -1), table[n:]])
    from scipy.interpolate import RectBivariateSpline

    old = [_spread(source, target) for target in (rows, cols)]
    new = [np.arange(-(target // 2), target // 2 + 1.0) for target in (rows, cols)]
    values = table[:n].detach().cpu().double().view(source, source, -1).numpy()
    order = min(3, source - 1)
    resized = [
        RectBivariateSpline(*old, values[..., head], kx=order, ky=order)(*new)
        for head in range(values.shape[-1])
    ]
    resized = torch.from_numpy(np.stack(resized, axis=-1)).view(rows * cols, -1)
    return torch.cat([resized.to(table), table[n:]])


def _spread(source: int, target: int) -> np.ndarray:
    """Where the ``source`` old offsets lie among ``-(target // 2) .. target // 2``."""
    steps = source // 2
    low, high = 1.01, 1.5  # the authors' bounds of the ratio
    while high - low > 1e-6:
        ratio = (low + high) / 2
        if (1 - ratio**steps) / (1 - ratio) > target // 2:
            high = ratio
        else:
            low = ratio
    half = np.cumsum([ratio**i for i in range(steps)])
    return np.concatenate([-half[::-1], [0.0], half])
