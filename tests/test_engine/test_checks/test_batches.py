import pytest

from simmim_mm.datasets.errors import DataError
from simmim_mm.engine.checks.batches import check_batches

IMAGES = range(40)


@pytest.mark.parametrize(
    ('loader', 'processes', 'told'),
    [
        (dict(drop_last=True), 1, '40 images are fewer than a batch of 64.*--batch-size 40'),
        (dict(batch_sampler=dict(drop_last=True)), 1, '40 images are fewer'),
        (dict(drop_last=True, batch_size=32), 2, '20 images on each of 2 processes are fewer'),
    ],
)
def test_no_batch_at_all_is_an_error(loader, processes, told):
    with pytest.raises(DataError, match=told):
        check_batches({'batch_size': 64, **loader}, IMAGES, processes)


@pytest.mark.parametrize(
    'loader',
    [
        dict(drop_last=False),
        dict(drop_last=True, batch_size=40),
        dict(drop_last=True, sampler=dict(type='InfiniteSampler')),
    ],
)
def test_a_batch_is_enough_and_endless_samplers_fill_it(loader):
    check_batches({'batch_size': 64, **loader}, IMAGES)


def test_one_image_is_too_few():
    with pytest.raises(DataError, match='one image is too few'):
        check_batches({'batch_size': 64}, range(1))
