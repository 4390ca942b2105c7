import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse.csgraph import connected_components

from simmim_mm.curation import group_duplicates, near_pairs, split_groups

RNG = np.random.default_rng(0)


def flip_bits(value, number):
    for bit in RNG.choice(64, number, replace=False):
        value ^= np.uint64(1) << np.uint64(bit)
    return value


def distances(a, b):
    return np.array([[bin(int(x) ^ int(y)).count('1') for y in b] for x in a])


@pytest.mark.parametrize('distance', [0, 1, 4, 9])
def test_near_pairs_are_those_of_comparing_all(distance):
    hashes = RNG.integers(0, 2**64, 300, dtype=np.uint64)
    for i in range(150):  # relatives at distances around the limit
        hashes[150 + i] = flip_bits(hashes[RNG.integers(150)], RNG.integers(0, 14))
    expected = np.argwhere(np.triu(distances(hashes, hashes) <= distance, 1))
    pairs = np.unique(
        np.concatenate([np.stack(p, 1) for p in near_pairs(hashes, distance)]), axis=0
    )
    assert_array_equal(pairs, expected)

    others = hashes[::-1].copy()
    close = distances(hashes, others) <= distance
    np.fill_diagonal(close, False)
    found = [np.stack(p, 1) for p in near_pairs(hashes, distance, others)]
    assert_array_equal(np.unique(np.concatenate(found), axis=0), np.argwhere(close))


def test_many_equal_bits_do_not_need_much_memory():
    hashes = np.zeros(5000, np.uint64)
    hashes[1:] = RNG.integers(0, 2**20, 4999, dtype=np.uint64) << np.uint64(40)
    tops = [len(i) for i, _ in near_pairs(hashes, 2)]
    assert max(tops) <= 1 << 20


def test_groups_join_duplicates_of_duplicates():
    content = np.array([b'a', b'b', b'a', b'c', b'd', b'e'], 'S16').view('V16')
    pixels = np.array([b'1', b'2', b'1', b'2', b'3', b'4'], 'S16').view('V16')
    far = RNG.integers(0, 2**64, 6, dtype=np.uint64)
    assert_array_equal(group_duplicates(content, pixels, far, distance=0), [0, 1, 0, 1, 4, 5])
    far[4], far[5] = flip_bits(far[3], 3), flip_bits(far[0], 5)
    assert_array_equal(group_duplicates(content, pixels, far, distance=4), [0, 1, 0, 1, 1, 5])
    assert_array_equal(group_duplicates(content, pixels, far, distance=-1), [0, 1, 0, 1, 4, 5])
    mirrored = RNG.integers(0, 2**64, 6, dtype=np.uint64)
    mirrored[5] = far[2]
    groups = group_duplicates(content, pixels, far, mirrored, distance=4)
    assert_array_equal(groups, [0, 1, 0, 1, 1, 0])


@pytest.mark.parametrize('with_mirrored', [False, True])
def test_groups_are_the_connected_images(with_mirrored):
    looks, mirrored = (RNG.choice(RNG.integers(0, 2**64, 60, dtype=np.uint64), 200) for _ in 'ab')
    for i in range(0, 200, 2):
        looks[i] = flip_bits(looks[i], RNG.integers(0, 5))
    mirrored[::9] = looks[RNG.integers(0, 200, 23)]
    content, pixels = (RNG.integers(0, 150, 200).astype('S16').view('V16') for _ in 'ab')
    links = (content[:, None] == content) | (pixels[:, None] == pixels)
    links |= distances(looks, looks) <= 3
    if with_mirrored:
        links |= distances(looks, mirrored) <= 3
    parts = connected_components(links, directed=False)[1]
    expected = [np.flatnonzero(parts == part)[0] for part in parts]
    given = mirrored if with_mirrored else None
    assert_array_equal(group_duplicates(content, pixels, looks, given, 3), expected)
    assert 1 < len(set(expected)) < 100


def test_a_hundred_thousand_frames_of_a_still_camera():
    """They are five billion pairs."""
    other = np.arange(100_000).astype('S16').view('V16')
    looks = np.full(100_000, 77, np.uint64)
    looks[::2] ^= np.uint64(1) << (np.arange(50_000) % 60).astype(np.uint64)
    looks[-1] = ~np.uint64(0)
    groups = group_duplicates(other, other, looks, distance=4)
    assert_array_equal(groups, [0] * 99_999 + [99_999])


# ---- splits ----


@pytest.mark.parametrize('ratios', [(0.8, 0.1, 0.1), (0.5, 0.5), (0.7, 0.3, 0.0)])
@pytest.mark.parametrize('copies', [0, 60])
def test_every_class_is_split_by_the_ratios_and_no_group_straddles(ratios, copies):
    labels = RNG.choice(5, 400, p=[0.5, 0.2, 0.15, 0.1, 0.05])
    groups = np.arange(400)
    for i in RNG.permutation(400)[:copies]:  # copies of images, mostly of their own class
        same = np.flatnonzero(labels == labels[i])
        groups[i] = groups[RNG.choice(same if i % 5 else 400)]
    parts = split_groups(labels, groups, ratios, seed=3)
    assert all(len(np.unique(parts[groups == g])) == 1 for g in np.unique(groups))
    for label in range(5):
        numbers = np.bincount(parts[labels == label], minlength=len(ratios))
        wanted = np.array(ratios) * (labels == label).sum()
        assert (np.abs(numbers - wanted) < 1 + 1e-9).all()


def test_a_group_larger_than_its_part_leaves_the_rest_to_the_others():
    labels, groups = np.zeros(10, int), np.array([0] * 8 + [1, 2])
    parts = split_groups(labels, groups, (0.5, 0.5))
    assert len(set(parts[:8])) == 1
    assert_array_equal(parts[8:], 1 - parts[0])


def test_seed_decides():
    labels, groups = np.zeros(100, int), np.arange(100) // 2
    one = split_groups(labels, groups, (0.8, 0.2), seed=0)
    assert_array_equal(one, split_groups(labels, groups, (0.8, 0.2), seed=0))
    assert (one != split_groups(labels, groups, (0.8, 0.2), seed=1)).any()


def test_ratios_must_be_fractions():
    with pytest.raises(ValueError, match='sum to 1'):
        split_groups(np.zeros(3, int), np.arange(3), (0.8, 0.3))
