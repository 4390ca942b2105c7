"""Fixed position embeddings."""

import torch
from torch import Tensor


def sincos_position_embedding(
    grid: tuple[int, int], dims: int, num_extra_tokens: int = 0, temperature: float = 1e4
) -> Tensor:
    """MAE's fixed 2-D sine-cosine position embedding, ``(1, num_extra_tokens + h * w, dims)``.

    The first half of the channels encodes the column, the second the row; each half is sines, then
    cosines, of the coordinate times ``temperature ** (-i / (dims / 4))``. mmpretrain's function of
    like name has the two halves exchanged and enumerates a non-square grid column by column.

    Args:
        grid: Rows and columns of the token grid ``(h, w)``, enumerated in raster order.
        dims: Channels, a multiple of 4.
        num_extra_tokens: Zero rows put in front (1 for a cls token).
    """
    if dims % 4:
        raise ValueError(f'a 2-D sine-cosine embedding needs a multiple of 4 channels, got {dims}')
    h, w = grid
    # float64, as the authors: sines of large arguments
    omega = temperature ** (-torch.arange(dims // 4, dtype=torch.float64) / (dims // 4))
    row, col = torch.meshgrid(torch.arange(h).double(), torch.arange(w).double(), indexing='ij')
    halves = [axis.reshape(-1, 1) * omega for axis in (col, row)]
    embedding = torch.cat([f(angle) for angle in halves for f in (torch.sin, torch.cos)], dim=1)
    extra = embedding.new_zeros(num_extra_tokens, dims)
    return torch.cat([extra, embedding]).float()[None]
