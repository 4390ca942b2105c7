"""Groups of duplicates and near-duplicates, from the hashes of images."""

from collections.abc import Iterator

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

_BLOCK = 1 << 20  # comparisons at a time


def near_pairs(
    hashes: np.ndarray, distance: int, others: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All pairs of hashes that differ in at most ``distance`` of their 64 bits.

    Two such hashes agree on at least one of ``distance + 1`` ranges of bits. So only those that do
    are compared, a block at a time: memory grows with the number of hashes, not of pairs. A pair
    may be yielded more than once.

    Args:
        hashes: ``(n,)`` uint64.
        distance: 0 to 12.
        others: ``(n,)`` uint64; pairs are then ``hashes[i]`` and ``others[j]``.

    Yields:
        Indices ``i`` and ``j`` of pairs, i < j unless ``others`` are given.
    """
    if not 0 <= distance <= 12:
        raise ValueError(f'distance must be 0 to 12 bits of 64, got {distance}')
    count = len(hashes)
    both = hashes if others is None else np.concatenate([hashes, others])
    edges = np.linspace(0, 64, distance + 2).astype(int)
    for low, high in zip(edges, edges[1:]):
        bits = (both >> np.uint64(low)) & np.uint64((1 << int(high - low)) - 1)
        order = np.argsort(bits, kind='stable')
        starts = np.flatnonzero(np.diff(bits[order], prepend=bits[order[:1]] + 1))
        for start, stop in zip(starts, (*starts[1:], len(both))):
            left = right = order[start:stop]
            if others is not None:
                left, right = left[left < count], right[right >= count]
            if min(len(left), len(right)) == 0 or stop - start < 2:
                continue
            rows = max(1, _BLOCK // len(right))
            for first in range(0, len(left), rows):
                part = left[first : first + rows]
                differing = _count_bits(both[part][:, None] ^ both[right][None])
                a, b = np.nonzero(differing <= distance)
                i, j = part[a], right[b] if others is None else right[b] - count
                keep = i < j if others is None else i != j
                if keep.any():
                    yield i[keep], j[keep]


def group_duplicates(
    content: np.ndarray,
    pixels: np.ndarray,
    looks: np.ndarray,
    mirrored: np.ndarray | None = None,
    distance: int = 4,
) -> np.ndarray:
    """Number of the group of each image; images of a group are duplicates or look the same.

    Args:
        content: ``(n,)`` hashes of the bytes.
        pixels: ``(n,)`` hashes of the pixels.
        looks: ``(n,)`` uint64 perceptual hashes.
        mirrored: ``(n,)`` uint64, those of the mirrored images; None: mirror images differ.
        distance: Bits in which the perceptual hashes of near-duplicates may differ; -1: duplicates
            only.

    Returns:
        ``(n,)`` int64; the number of a group is the index of its first member.
    """
    groups = _Groups(len(content))

    def join_equal(keys: np.ndarray) -> np.ndarray:
        """Join images with the same key, and give the first of each."""
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        groups.join(first[inverse], np.arange(len(keys)))
        return first

    join_equal(content)
    join_equal(pixels)
    if distance >= 0:
        # A thousand images that look the same make half a million pairs: one stands for them.
        hashes = np.stack([looks] if mirrored is None else [looks, mirrored], 1)
        first = join_equal(hashes.view(f'V{8 * hashes.shape[1]}').ravel())
        for others in [None] if mirrored is None else [None, mirrored[first]]:
            for left, right in near_pairs(looks[first], distance, others):
                groups.join(first[left], first[right])
    return groups.of(np.arange(len(content)))


class _Groups:
    """A forest over images: each knows an earlier one of its group, the first one itself."""

    def __init__(self, count: int) -> None:
        self.parent = np.arange(count)

    def of(self, images: np.ndarray) -> np.ndarray:
        """The first image of the group of each."""
        found = self.parent[images]
        while ((further := self.parent[found]) != found).any():
            found = further
        self.parent[images] = found
        return found

    def join(self, left: np.ndarray, right: np.ndarray) -> None:
        """Make one group of those of ``left[i]`` and ``right[i]``."""
        left, right = self.of(left), self.of(right)
        apart = left != right
        if not apart.any():
            return
        # of the groups that are concerned: their number in this list, and what is connected
        firsts, numbers = np.unique([left[apart], right[apart]], return_inverse=True)
        one, other = numbers.reshape(2, -1)
        links = csr_matrix((np.ones(len(one), bool), (one, other)), shape=[len(firsts)] * 2)
        _, part = connected_components(links, directed=False)
        self.parent[firsts] = firsts[np.unique(part, return_index=True)[1][part]]


def _count_bits(values: np.ndarray) -> np.ndarray:
    if hasattr(np, 'bitwise_count'):
        return np.bitwise_count(values)
    parts = values[..., None].view(np.uint8)  # NumPy 1
    return np.unpackbits(parts, axis=-1).sum(-1, dtype=np.uint8)
