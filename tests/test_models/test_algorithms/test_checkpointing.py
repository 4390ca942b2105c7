"""Activation checkpointing of a whole pretraining, in distributed training."""

import pytest
import torch
from test_compile import MAE, METHODS, batch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from simmim_mm.registry import MODELS

SPARSE = (dict(METHODS['swin'][0], mask_mode='gather'), MAE)


@pytest.fixture
def group(tmp_path):
    distributed.init_process_group('gloo', f'file://{tmp_path}/store', rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


class Loss(nn.Module):
    """Of a model: the wrapped forward is what distributed training watches."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images, samples):
        return self.model.loss(images, samples)['loss']


@pytest.mark.parametrize('method', [METHODS['swin'], METHODS['swin_v2'], SPARSE])
def test_the_gradients_are_those_without_checkpointing(group, method):
    found = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        model = MODELS.build(
            dict(
                type='simmim_mm.MaskedImageModel',
                backbone=dict(method[0], img_size=64, with_cp=with_cp),
                neck=dict(method[1]),
                head=dict(type='PixelHead'),
                data_preprocessor=dict(type='MIMDataPreprocessor', mean=[0.0] * 3, std=[1.0] * 3),
            )
        )
        model.init_weights()
        wrapped = DistributedDataParallel(Loss(model)).train()
        for seed in range(2):  # the second step finds out what the first one left open
            wrapped.zero_grad()
            torch.manual_seed(seed)  # of drop path
            wrapped(*batch(model, seed)).backward()
        found.append({n: p.grad for n, p in model.named_parameters() if p.requires_grad})
    plain, checkpointed = found
    assert plain.keys() == checkpointed.keys()
    for name, grad in plain.items():
        assert grad is not None, name
        torch.testing.assert_close(checkpointed[name], grad, rtol=1e-4, atol=1e-7)
