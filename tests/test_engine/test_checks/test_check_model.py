import pytest
import torch
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import nn

from simmim_mm.engine.checks import check_model
from simmim_mm.models.backbones.base import BaseMaskedBackbone


class _Backbone(BaseMaskedBackbone):
    token_stride = 4

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.BatchNorm2d(4), nn.Dropout(0.5))

    def forward(self, x, mask=None):
        self.token_mask(mask, x)
        return (self.layers(x),)


class _Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.backbone = _Backbone()

    def forward(self, inputs, data_samples=None, mode='tensor'):
        torch.rand(1)
        mask = torch.stack([sample.mask for sample in data_samples])
        return dict(loss=self.backbone(torch.stack(inputs), mask)[0].mean())


def _sample(channels=3, size=(16, 24), grid=(4, 6)):
    data_sample = BaseDataElement(mask=torch.zeros(grid, dtype=torch.bool))
    return dict(inputs=torch.rand(channels, *size), data_samples=data_sample)


def test_leaves_no_trace():
    model = _Model().train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state = torch.get_rng_state()
    sample = _sample()
    state = torch.get_rng_state()
    check_model(model, sample)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    'sample, message',
    [
        (_sample(grid=(6, 4)), 'mask of 6x4 does not fit a 4x6 token grid of 4 pixels a token'),
        (_sample(grid=(8, 12)), 'mask_patch_size to a multiple of 4, such as 4'),
        (_sample(grid=(1, 1)), 'last crop or resize'),
        (_sample(channels=1), 'does not take an image of 1 channels and 16x24 pixels'),
    ],
)
def test_names_the_sizes_that_do_not_fit(sample, message):
    with pytest.raises(ValueError, match=message):
        check_model(_Model(), sample)
