"""Relative position biases for another window or grid."""

import math

import numpy as np
import torch
from torch import Tensor


def resize_position_bias(
    table: Tensor,
    window: tuple[int, int],
    num_extra_tokens: int = 0,
    source: tuple[int, int] | None = None,
) -> Tensor:
    """Interpolate a table of relative position biases, the authors' way (SimMIM, as BEiT).

    Near positions matter more than far ones, so the old offsets are spread in a geometric
    progression over the new range (the central ones stay one pixel apart), and a bicubic spline
    through them is read at whole offsets.

    Args:
        table: ``((2 h' - 1) (2 w' - 1) + num_extra_tokens, heads)``, the offset of the row varying
            slowest; the extra rows (class token) come last and are kept.
        window: Height and width of the new window, ``(h, w)``, in tokens.
        num_extra_tokens: Number of extra rows.
        source: Those of the old window, ``(h', w')``; None = a square one.

    Returns:
        ``((2 h - 1) (2 w - 1) + num_extra_tokens, heads)``, in the dtype of ``table``.

    Raises:
        ValueError: If the table is not of that window, or of a square one.
    """
    n = len(table) - num_extra_tokens
    side = (math.isqrt(max(n, 0)) + 1) // 2
    old_rows, old_cols = (2 * s - 1 for s in source or (side, side))
    if old_rows * old_cols != n:
        window_text = f'a window of {source[0]}x{source[1]}' if source else 'a square window'
        raise ValueError(
            f'cannot resize a relative position bias table of {len(table)} rows: {n} is not '
            f'(2 h - 1) (2 w - 1) of {window_text}'
        )
    rows, cols = (2 * s - 1 for s in window)
    if (rows, cols) == (old_rows, old_cols):
        return table
    if n == 1:  # one offset: nothing to interpolate
        return torch.cat([table[:n].expand(rows * cols, -1), table[n:]])
    values = table[:n].detach().cpu().double().view(old_rows, old_cols, -1).numpy()
    for axis in (0, 1):
        if values.shape[axis] == 1:  # the same everywhere: three offsets make a spline
            values = values.repeat(3, axis)
    from scipy.interpolate import RectBivariateSpline

    sizes = values.shape[:2]
    old_y, old_x = (_spread(source, target) for source, target in zip(sizes, (rows, cols)))
    y, x = (np.arange(-(target // 2), target // 2 + 1.0) for target in (rows, cols))
    degrees = [min(3, size - 1) for size in sizes]
    resized = [
        RectBivariateSpline(old_y, old_x, values[..., head], kx=degrees[0], ky=degrees[1])(y, x)
        for head in range(values.shape[-1])
    ]
    resized = torch.from_numpy(np.stack(resized, axis=-1)).view(rows * cols, -1)
    return torch.cat([resized.to(table), table[n:]])


def _spread(source: int, target: int) -> np.ndarray:
    """Where the ``source`` old offsets lie among ``-(target // 2) .. target // 2``."""
    steps = source // 2
    if source == target:
        return np.arange(-steps, steps + 1.0)
    low, high = 1.01, 1.5  # the authors' bounds of the ratio
    while high - low > 1e-6:
        ratio = (low + high) / 2
        if (1 - ratio**steps) / (1 - ratio) > target // 2:
            high = ratio
        else:
            low = ratio
    half = np.cumsum([ratio**i for i in range(steps)])
    return np.concatenate([-half[::-1], [0.0], half])
