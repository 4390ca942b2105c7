"""Backbones in models on several processes: every trainable parameter gets a gradient."""

import pytest
import torch
from mmengine.registry import init_default_scope
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from simmim_mm.registry import MODELS

ARCH = dict(embed_dims=12, depths=[1, 1, 2, 1], num_heads=[1, 2, 2, 4])


@pytest.fixture
def group(tmp_path):
    distributed.init_process_group('gloo', f'file://{tmp_path}/store', rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def build(name, **kwargs):
    init_default_scope('simmim_mm')
    arch = dict(ARCH, extra_norm_every_n_blocks=0) if name == 'MaskedSwinV2' else ARCH
    return MODELS.build(dict(type=name, arch=arch, img_size=32, window_size=4, **kwargs))


@pytest.mark.parametrize('name', ['MaskedSwin', 'MaskedSwinV2'])
@pytest.mark.parametrize('frozen_stages', [-1, 1])
def test_checkpointing_and_frozen_stages_need_no_search_for_unused_parameters(
    group, name, frozen_stages
):
    backbone = build(name, with_cp=True, frozen_stages=frozen_stages)
    model = DistributedDataParallel(backbone)
    model.train()
    for _ in range(2):  # the second step finds out what the first one left open
        model(torch.randn(2, 3, 32, 32))[-1].square().sum().backward()
    without = {n for n, p in backbone.named_parameters() if p.requires_grad and p.grad is None}
    assert not without and backbone.mask_token.grad is None


def test_a_mask_behind_the_wrapping_is_an_error_with_the_line_to_write(group):
    mask = torch.ones(2, 8, 8, dtype=torch.bool)
    model = DistributedDataParallel(build('MaskedSwin')).train()
    with pytest.raises(ValueError, match=r'mask_token\.requires_grad_\(\) before'):
        model(torch.randn(2, 3, 32, 32), mask)
    backbone = build('MaskedSwin')
    backbone.mask_token.requires_grad_()
    model = DistributedDataParallel(backbone).train()
    model(torch.randn(2, 3, 32, 32), mask)[-1].square().sum().backward()
    assert backbone.mask_token.grad.abs().sum() > 0
