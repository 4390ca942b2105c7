"""Split images into parts, class by class, duplicates together."""

import os
import re
from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components


def split_groups(
    labels: np.ndarray, groups: np.ndarray, ratios: Sequence[float], seed: int = 0
) -> np.ndarray:
    """Part of each image.

    Duplicates, images of one group, go to one part. Groups of several are placed first, each where
    its classes lack most; single images then fill every class up to the wanted number, which is met
    exactly (rounded to whole images) as long as there are enough of them.

    Args:
        labels: ``(n,)`` class of each image, from 0.
        groups: ``(n,)`` group of each image, any numbers.
        ratios: Fraction of each part; they sum to 1.
        seed: Equal seeds give equal splits, however the groups are numbered.

    Returns:
        ``(n,)`` index of the part.

    Raises:
        ValueError: If the ratios are negative or do not sum to 1.
    """
    wanted = np.asarray(ratios, float)
    if (wanted < 0).any() or abs(wanted.sum() - 1) > 1e-6:
        raise ValueError(f'ratios must be fractions that sum to 1, got {wanted.tolist()}')
    rng = np.random.default_rng(seed)
    lacking = _whole_numbers(np.bincount(labels), wanted)
    parts = np.full(len(labels), -1)

    _, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(inverse, kind='stable')
    members = np.split(order, np.cumsum(counts)[:-1])
    several = [m for m in members if len(m) > 1]
    # the largest first, while there is room everywhere
    shuffled = [several[i] for i in rng.permutation(len(several))]
    for group in sorted(shuffled, key=len, reverse=True):
        part = int(lacking[labels[group]].sum(0).argmax())
        parts[group] = part
        lacking[:, part] -= np.bincount(labels[group], minlength=len(lacking))

    single = rng.permutation(order[(counts == 1)[inverse[order]]])
    for label in np.unique(labels[single]):
        images = single[labels[single] == label]
        room = lacking[label].clip(0)
        # where duplicates took more than was wanted, the rest is distributed in proportion
        if room.sum() != len(images):
            fractions = room / room.sum() if room.sum() else wanted
            room = _whole_numbers([len(images)], fractions)[0]
        parts[images] = np.repeat(np.arange(len(wanted)), room)
    return parts


def named_groups(paths: Sequence[str], pattern: str) -> list[str]:
    """Name of the group of each image, such as its patient, slide or video.

    Args:
        paths: Relative to the folder that is split.
        pattern: ``'folder'``: the folder that holds the image. Else a regular expression that is
            looked for in the path; the group is what its parentheses match, or all of it.

    Raises:
        ValueError: If the pattern is none, or is not found in a path.
    """
    if pattern == 'folder':
        return [os.path.dirname(path) for path in paths]
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ValueError(f'--group {pattern!r} is no regular expression: {error}') from None
    found = [expression.search(path.replace(os.sep, '/')) for path in paths]
    if missing := [path for path, match in zip(paths, found) if match is None]:
        raise ValueError(
            f'--group {pattern!r} is not found in {len(missing)} of {len(paths)} paths, such as '
            f'{missing[0]!r}'
        )
    return ['/'.join(map(str, match.groups() or (match[0],))) for match in found if match]


def join_groups(first: Sequence, second: Sequence) -> np.ndarray:
    """Groups of the images that either list connects, ``(n,)`` int64."""
    one, other = (np.unique(groups, return_inverse=True)[1].ravel() for groups in (first, second))
    other = other + len(first)  # nodes of the graph: groups of the first list, then of the second
    size = 2 * len(first)
    links = csr_matrix((np.ones(len(first)), (one, other)), shape=(size, size))
    return connected_components(links, directed=False)[1][one]


def _whole_numbers(totals: Sequence[int] | np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """Whole numbers ``(len(totals), len(fractions))`` that sum to the totals, exact within one.

    Largest remainders; of equal ones the later part's, so that small classes are not all training.
    """
    exact = np.outer(totals, fractions)
    whole = np.floor(exact + 1e-9).astype(int)
    for row, value, total in zip(whole, exact, totals):
        rest = np.argsort(-(value - row)[::-1], kind='stable')[: total - row.sum()]
        row[len(row) - 1 - rest] += 1
    return whole
