import pytest
import torch
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import nn

from simmim_mm.engine.checks import check_model


class _Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.BatchNorm2d(4), nn.Dropout(0.5))
        self.backbone.token_stride = 4

    def forward(self, inputs, data_samples=None, mode='tensor'):
        torch.rand(1)
        return dict(loss=self.backbone(torch.stack(inputs)).mean())


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
        (_sample(grid=(6, 4)), 'mask is 6x4 tokens, but an image of 16x24 pixels has 4x6'),
        (_sample(grid=(1, 1)), 'token stride to 4'),
        (_sample(channels=1), 'does not take an image of 1 channels and 16x24 pixels'),
    ],
)
def test_names_the_sizes_that_do_not_fit(sample, message):
    with pytest.raises(ValueError, match=message):
        check_model(_Model(), sample)
