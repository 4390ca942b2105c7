"""Data sets are found in wrappers of every kind, built and as configs."""

import pytest
from mmengine.dataset import ClassBalancedDataset, ConcatDataset, RepeatDataset
from torch.utils.data import ConcatDataset as TorchConcatDataset
from torch.utils.data import Subset

from simmim_mm.datasets import ImageDataset, image_datasets, single_datasets

LEAF = dict(type='ImageDataset', data_root='a')


@pytest.mark.parametrize(
    ('config', 'places'),
    [
        (LEAF, ['x']),
        (dict(type='RepeatDataset', times=2, dataset=LEAF), ['x.dataset']),
        (dict(type='ConcatDataset', datasets=[LEAF, LEAF]), ['x.datasets.0', 'x.datasets.1']),
        (
            dict(
                type='mmdet.MultiImageMixDataset',
                dataset=dict(type='ConcatDataset', datasets=[dict(type='R', dataset=LEAF), LEAF]),
            ),
            ['x.dataset.datasets.0.dataset', 'x.dataset.datasets.1'],
        ),
    ],
)
def test_configs(config, places):
    assert list(single_datasets(config, 'x')) == [(place, LEAF) for place in places]


class Labeled(ImageDataset):
    def get_cat_ids(self, idx):
        return [0]


def test_built_ones(folder):
    one, two = (Labeled(str(folder)) for _ in range(2))
    balanced = ClassBalancedDataset(one, oversample_thr=0.1)
    repeated = RepeatDataset(ConcatDataset([two]).datasets[0], 2)
    nested = TorchConcatDataset([balanced, Subset(repeated, [0])])  # mmengine's refuses wrappers
    assert list(single_datasets(nested)) == [
        ('dataset.datasets.0.dataset', one),
        ('dataset.datasets.1.dataset.dataset', two),
    ]
    assert list(image_datasets(nested)) == [one, two]
    # the config of a wrapper may hold a built data set
    mixed = dict(type='RepeatDataset', times=2, dataset=one)
    assert list(single_datasets(mixed)) == [('dataset.dataset', one)]


def test_what_is_no_wrapper_is_given_back():
    assert list(single_datasets(range(3), 'x')) == [('x', range(3))]
    assert list(single_datasets({}, 'x')) == [('x', {})]
    assert list(image_datasets(range(3))) == []
