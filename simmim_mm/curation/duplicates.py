"""Groups of duplicates and near-duplicates, from the hashes of images."""

from collections.abc import Iterator

import numpy as np

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
    parent = np.arange(len(content))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    def join(left: np.ndarray, right: np.ndarray) -> None:
        for a, b in zip(left.tolist(), right.tolist()):
            a, b = root(a), root(b)
            parent[max(a, b)] = min(a, b)

    for keys in (content, pixels):
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        later = np.flatnonzero(first[inverse] != np.arange(len(keys)))
        join(first[inverse[later]], later)
    searched = [None] if mirrored is None else [None, mirrored]
    for others in searched if distance >= 0 else []:
        for left, right in near_pairs(looks, distance, others):
            join(left, right)
    return np.array([root(i) for i in range(len(parent))], np.int64)


def _count_bits(values: np.ndarray) -> np.ndarray:
    if hasattr(np, 'bitwise_count'):
        return np.bitwise_count(values)
    parts = values[..., None].view(np.uint8)  # NumPy 1
    return np.unpackbits(parts, axis=-1).sum(-1, dtype=np.uint8)
