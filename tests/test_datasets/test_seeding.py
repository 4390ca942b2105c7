import pickle
import random

import numpy as np
import pytest
import torch
from mmengine.dataset import ConcatDataset, RepeatDataset

from simmim_mm.datasets import ImageDataset, SeededIndex, sample_seed, seeded_rng


def draw():
    return random.random(), np.random.rand(), np.random.randn(), torch.rand(1).item()


def test_the_same_seed_gives_the_same_numbers_and_leaves_no_trace():
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected_outside = [draw(), draw()]
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    outside = [draw()]
    with seeded_rng(2**63 + 5):
        first = draw()
    with pytest.raises(KeyError), seeded_rng(2**63 + 5):
        assert draw() == first
        raise KeyError
    with seeded_rng(2**63 + 6):
        assert not set(draw()) & set(first)
    with seeded_rng(None):
        outside.append(draw())
    assert [x[:2] + x[3:] for x in outside] == [x[:2] + x[3:] for x in expected_outside]


def test_sample_seeds_do_not_collide_between_neighbors():
    seeds = {sample_seed(s, e, i) for s in range(5) for e in range(-1, 20) for i in range(100)}
    assert len(seeds) == 5 * 21 * 100
    # All bits vary: each is set in about half of the seeds.
    bits = np.array([[seed >> b & 1 for b in range(64)] for seed in seeds])
    np.testing.assert_allclose(bits.mean(axis=0), 0.5, atol=0.03)


def test_a_seeded_index_is_an_int_that_keeps_its_seed():
    index = SeededIndex(7, 99)
    assert [10, 11, 12, 13, 14, 15, 16, 17][index] == 17
    for result, value in [
        (index + 3, 10), (3 + index, 10), (index - 3, 4), (index % 5, 2), (index // 2, 3),
        (pickle.loads(pickle.dumps(index)), 7),
    ]:  # fmt: skip
        assert (int(result), result.seed) == (value, 99)


def test_seeds_pass_through_mmengines_wrappers(folder):
    def pipeline(results):
        return results['img_path'], np.random.rand()

    def dataset(name):
        return ImageDataset(str(folder / name), pipeline=[pipeline])

    direct = dataset('class1')[SeededIndex(2, 42)]
    both = ConcatDataset([dataset('class0'), dataset('class1')])
    assert both[SeededIndex(len(dataset('class0')) + 2, 42)] == direct
    repeated = RepeatDataset(dataset('class1'), 3)
    assert repeated[SeededIndex(len(dataset('class1')) + 2, 42)] == direct
