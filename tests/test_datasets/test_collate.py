"""Batches come with their images in one tensor, and are what they were otherwise."""

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.structures import BaseDataElement
from torch.utils.data import DataLoader

from simmim_mm.datasets import stack_images
from simmim_mm.models.data_preprocessor import MIMDataPreprocessor
from simmim_mm.registry import FUNCTIONS


def sample(index: int, side: int = 4) -> dict:
    image = torch.from_numpy(np.random.default_rng(index).integers(256, size=(3, side, side)))
    mask = torch.tensor([[index % 2 == 0]])
    return dict(inputs=image.byte(), data_samples=BaseDataElement(mask=mask), index=index)


@pytest.mark.parametrize('workers', [0, 1])
def test_images_are_one_tensor_and_the_rest_is_as_before(workers):
    samples = [sample(index) for index in range(5)]
    loader = DataLoader(samples, 5, num_workers=workers, collate_fn=stack_images)
    (batch,), before = list(loader), pseudo_collate(samples)
    assert torch.equal(batch['inputs'], torch.stack(before['inputs']))
    assert batch['index'] == before['index'] == list(range(5))
    assert [s.mask for s in batch['data_samples']] == [s.mask for s in before['data_samples']]
    model = MIMDataPreprocessor(mean=[1, 2, 3], std=[4, 5, 6])
    assert torch.equal(model(batch)['inputs'], model(before)['inputs'])


def test_images_of_different_shapes_are_named_by_the_data_preprocessor():
    batch = FUNCTIONS.get('stack_images')([sample(0), sample(1, 5)])
    with pytest.raises(ValueError, match=r'images of one batch differ in shape.*add a crop'):
        MIMDataPreprocessor(mean=[0] * 3, std=[1] * 3)(batch)
