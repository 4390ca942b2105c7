from unittest.mock import patch

import pytest
from mmengine.dataset import DefaultSampler

from simmim_mm.datasets import ReproducibleSampler


def sampler(length=12, rank=0, world_size=1, cls=ReproducibleSampler, **kwargs):
    ranks = patch('mmengine.dataset.sampler.get_dist_info', return_value=(rank, world_size))
    with ranks:
        return cls(range(length), seed=5, **kwargs)


def pairs(sampler):
    return [(int(index), index.seed) for index in sampler]


@pytest.mark.parametrize('epoch', [0, 3])
@pytest.mark.parametrize('shuffle', [True, False])
def test_the_order_is_mmengines(shuffle, epoch):
    ours, theirs = sampler(shuffle=shuffle), sampler(cls=DefaultSampler, shuffle=shuffle)
    ours.set_epoch(epoch)
    theirs.set_epoch(epoch)
    assert list(ours) == list(theirs)


def test_seeds_differ_between_samples_epochs_and_runs():
    one = sampler()
    first = dict(pairs(one))
    assert dict(pairs(one)) == first
    one.set_epoch(1)
    second = dict(pairs(one))
    one.seed = 6
    third = dict(pairs(one))
    assert len({*first.values(), *second.values(), *third.values()}) == 36


def test_fixed_keeps_the_seeds_of_every_epoch():
    one = sampler(fixed=True, shuffle=False)
    first = pairs(one)
    one.set_epoch(7)
    assert pairs(one) == first


@pytest.mark.parametrize('world_size', [2, 3])
def test_ranks_share_out_what_one_process_would_see_batch_by_batch(world_size):
    ranks = [pairs(sampler(rank=r, world_size=world_size)) for r in range(world_size)]
    alone = pairs(sampler())
    batch = 2
    for start in range(0, len(ranks[0]), batch):
        together = [pair for rank in ranks for pair in rank[start : start + batch]]
        expected = alone[start * world_size : (start + batch) * world_size]
        assert sorted(together) == sorted(expected)


def test_ranks_see_as_many_samples_when_the_number_does_not_divide():
    ranks = [pairs(sampler(7, rank=r, world_size=2)) for r in range(2)]
    assert [len(rank) for rank in ranks] == [4, 4]
    assert {index for rank in ranks for index, _ in rank} == set(range(7))


@pytest.mark.parametrize('n', [0, 1, 5])
def test_skip_gives_the_tail_once(n):
    one = sampler(rank=1, world_size=2)
    one.set_epoch(4)
    whole = pairs(one)
    one.skip(n)
    assert len(one) == len(whole)  # the length of an epoch does not change
    assert pairs(one) == whole[n:]
    assert pairs(one) == whole


def test_skip_beyond_an_epoch_as_the_iteration_based_loop_does():
    one = sampler()
    stream = []
    for epoch in range(4):
        one.set_epoch(epoch)
        stream += pairs(one)
    resumed = sampler()
    resumed.skip(2 * 12 + 5)
    rest = pairs(resumed)
    resumed.set_epoch(1)  # the loop counts its epochs from the resume
    assert rest + pairs(resumed) == stream[2 * 12 + 5 :]


def test_a_negative_skip_is_refused():
    with pytest.raises(ValueError, match='-1'):
        sampler().skip(-1)
