"""Window attention among the visible tokens only.

A window of a masked image holds some of its tokens or none. So that few attentions of equal size
serve them all, windows are packed into groups and a token sees those of its own window only: the
idea of GreenMIM (arXiv 2205.13515, section 3), here over all windows of a batch at once, so that
every image has a mask of its own. What the shift of Swin leaves of a window at the border is a
window by itself.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from simmim_mm.models.backbones.permute_tokens import PermuteTokens


class VisibleTokens:
    """Where the visible tokens ``(B, n, C)`` of a batch are in their maps.

    They are in the order of the visible blocks, and within a block in Z-order: four in a row are
    the neighbors that a patch merging joins.

    Args:
        blocks: ``(3, B * n_visible)`` integers: image, row and column of each visible block.
        grid: Rows and columns of blocks in an image.
        side: Tokens along the side of a block, a power of two.
        device: Of the tokens.
    """

    def __init__(
        self, blocks: np.ndarray, grid: tuple[int, int], side: int, device: torch.device
    ) -> None:
        self.blocks, self.grid, self.side, self.device = blocks, grid, side, device
        self.size = grid[0] * side, grid[1] * side
        rows, cols = z_order(side)
        image, row, col = blocks[..., None]
        self.image = np.repeat(image, side**2)
        self.row, self.col = (row * side + rows).ravel(), (col * side + cols).ravel()
        self._groups: dict[tuple[int, int], WindowGroups] = {}

    def merged(self) -> 'VisibleTokens':
        """The tokens after a patch merging."""
        return VisibleTokens(self.blocks, self.grid, self.side // 2, self.device)

    def ids(self, batch_size: int) -> Tensor:
        """Index of each token in the raster order of its map, ``(B, n)``."""
        ids = torch.from_numpy(self.row * self.size[1] + self.col)
        return ids.view(batch_size, -1).to(self.device)

    def groups(self, window: int, shift: int) -> 'WindowGroups':
        """The windows of side ``window``, moved by ``shift``, in groups; made once.

        Raises:
            ValueError: If the map is not whole windows: the padding that completes them takes part
                in Swin's attention, but is not there among visible tokens.
        """
        if self.size[0] % window or self.size[1] % window:
            raise ValueError(
                f'a map of {self.size[0]}x{self.size[1]} tokens is not whole windows of {window}, '
                "which mask_mode='gather' needs: change window_size or img_size"
            )
        if (window, shift) not in self._groups:
            row, col = self.row - shift, self.col - shift
            down, across = (n // window + 1 for n in self.size)
            key = (self.image * down + row // window + 1) * across + col // window + 1
            position = row % window * window + col % window
            self._groups[window, shift] = WindowGroups(key, position, window**2, self.device)
        return self._groups[window, shift]


class WindowGroups:
    """Windows packed into groups of as many slots as the fullest window has tokens.

    Args:
        key: ``(T,)`` integers, the window of each token.
        position: ``(T,)``, its position in a full window of ``area`` tokens.
        area: See above.
        device: Of the tokens.
    """

    def __init__(
        self, key: np.ndarray, position: np.ndarray, area: int, device: torch.device
    ) -> None:
        counts = np.bincount(key)
        counts = counts[counts > 0]
        first, self.length = pack(counts)
        rank = np.arange(len(key)) - np.repeat(np.cumsum(counts) - counts, counts)
        slots = np.empty_like(key)
        slots[np.argsort(key, kind='stable')] = np.repeat(first, counts) + rank

        n_slots = -(-(slots.max() + 1) // self.length) * self.length
        table = np.zeros((3, n_slots), dtype=np.int64)  # of each slot: token, window, position
        table[1] = -1
        table[:, slots] = np.arange(len(key)), key, position
        self.slots = torch.from_numpy(slots).to(device)
        self.empty = torch.from_numpy(np.flatnonzero(table[1] < 0)).to(device)
        self.tokens, window, place = torch.from_numpy(table).to(device)
        window, place = (n.view(-1, self.length).int() for n in (window, place))
        pairs = place[:, :, None] * area + place[:, None]
        self.pairs = pairs.masked_fill_(window[:, :, None] != window[:, None], area**2)

    def split(self, x: Tensor) -> Tensor:
        """Tokens ``(B, n, C)`` into groups ``(n_groups, length, C)``."""
        # Empty slots hold a token that nothing sees, so the gradient of the others is all of it.
        x = PermuteTokens.apply(x.flatten(0, 1)[None], self.tokens, self.slots)
        return x.view(-1, self.length, x.shape[-1])

    def join(self, x: Tensor, batch_size: int) -> Tensor:
        """Groups back into tokens ``(B, n, C)``."""
        x = ReadSlots.apply(x.flatten(0, 1), self.slots, self.tokens, self.empty)
        return x.view(batch_size, -1, x.shape[-1])

    def bias(self, bias: Tensor) -> Tensor:
        """Bias of each pair of slots, ``(n_groups, heads, length, length)``.

        Args:
            bias: ``(1, heads, N, N)`` of the pairs in a full window. Pairs of different windows get
                -100, as those that Swin's shift made neighbors.
        """
        table = F.pad(bias.flatten(2)[0], (0, 1), value=-100.0).t()
        return F.embedding(self.pairs, table).permute(0, 3, 1, 2).contiguous()


def z_order(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of each of ``side ** 2`` tokens, quadrant by quadrant."""
    rows = cols = np.zeros(1, dtype=np.int64)
    for bit in range(side.bit_length() - 1):
        rows = np.concatenate([rows + (r << bit) for r in (0, 0, 1, 1)])
        cols = np.concatenate([cols + (c << bit) for c in (0, 1, 0, 1)])
    return rows, cols


def pack(counts: np.ndarray) -> tuple[np.ndarray, int]:
    """Windows of ``counts`` tokens into groups of equal length, the largest that fits first.

    Returns:
        The first slot of each window, and the length of a group, the highest count.
    """
    length = int(counts.max())
    left = np.bincount(counts, minlength=length + 1)
    by_count = np.split(np.argsort(counts, kind='stable'), np.cumsum(left)[:-1])
    first, start = np.empty_like(counts), 0
    while left.any():
        fitting, room = [], length
        while (open_counts := np.flatnonzero(left[: room + 1])).size:
            fitting.append((count := int(open_counts[-1]), length - room))
            left[count] -= 1
            room -= count
        used = np.bincount([count for count, _ in fitting], minlength=length + 1)
        # as many groups of this kind as there are windows for
        repeats = 1 + int((left[used > 0] // used[used > 0]).min())
        left -= (repeats - 1) * used
        starts = start + length * np.arange(repeats)
        for count, offset in fitting:
            windows, by_count[count] = np.split(by_count[count], [repeats])
            first[windows] = starts + offset
        start += repeats * length
    return first, length


class ReadSlots(torch.autograd.Function):
    """``x[slots]``; the gradient is a gather, too."""

    @staticmethod
    def forward(ctx, x: Tensor, slots: Tensor, tokens: Tensor, empty: Tensor) -> Tensor:
        ctx.tokens, ctx.empty = tokens, empty
        return x.index_select(0, slots)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]  # names
        return grad.index_select(0, ctx.tokens).index_fill_(0, ctx.empty, 0), None, None, None
