import pytest
import torch
from mmengine.structures import BaseDataElement
from torch import nn

from simmim_mm.models.target_generators import TargetGenerator
from simmim_mm.registry import MODELS

MEAN, STD = [10.0, 20.0, 30.0], [2.0, 4.0, 8.0]


@MODELS.register_module()
class _OneConvBackbone(nn.Module):
    """Token mode in one layer: patch embedding, zeros under the mask."""

    def __init__(self, stride=8):
        super().__init__()
        self.proj = nn.Conv2d(3, 6, stride, stride)

    def forward(self, x, mask=None):
        x = self.proj(x)
        return (x if mask is None else x.masked_fill(mask[:, None], 0.0),)


@MODELS.register_module()
class _Double(TargetGenerator):
    """A target that is not the image: twice its pixels above the mean."""

    def forward(self, x):
        return 2 * x

    def invert(self, pred, source, mask=None, stats='true'):
        return pred / 2


def build(**kwargs):
    torch.manual_seed(0)
    cfg = dict(
        type='MaskedImageModel',
        backbone=dict(type='_OneConvBackbone'),
        neck=dict(type='PixelShuffleDecoder', in_channels=6, stride=8),
        head=dict(type='PixelHead'),
        data_preprocessor=dict(type='MIMDataPreprocessor', mean=MEAN, std=STD),
    )
    return MODELS.build({**cfg, **kwargs})


@pytest.fixture
def batch():
    torch.manual_seed(1)
    images = torch.randint(0, 256, (3, 3, 16, 24), dtype=torch.uint8)
    mask = torch.rand(3, 2, 3) < 0.5
    mask[:, 0, 0], mask[:, 1, 1] = True, False
    return images, mask


def samples(mask):
    return [BaseDataElement(mask=m) for m in mask]


def test_loss_is_the_papers(batch):
    """Mean of |x - x_rec| over the masked pixels, as the authors normalize it."""
    images, mask = batch
    model = build()
    data = model.data_preprocessor(dict(inputs=list(images), data_samples=samples(mask)))
    loss = model(**data, mode='loss')['loss']

    x = (images.float() - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    z = model.backbone.proj(x) * (~mask)[:, None]
    x_rec = nn.functional.pixel_shuffle(model.neck.decoder[0](z), 8)
    m = mask.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None].float()
    expected = ((x - x_rec).abs() * m).sum() / (m.sum() + 1e-5) / 3
    torch.testing.assert_close(loss, expected)


def test_targets_apply_in_order_and_get_the_pixel_stats(batch):
    images, _ = batch
    model = build(target=[dict(type='_Double'), dict(type='LocalNorm', patch_size=5)])
    assert torch.equal(model.target[0].mean.flatten(), torch.tensor(MEAN))
    x = model.data_preprocessor.normalize(images)
    torch.testing.assert_close(model.target(x), model.target[1](2 * x))
    # undone last first
    torch.testing.assert_close(model.target.invert(model.target(x), x), x, rtol=1e-4, atol=1e-4)


def test_validation_losses_are_those_of_each_image(batch):
    images, mask = batch
    model = build().eval()
    x = model.data_preprocessor.normalize(images)
    for i, sample in enumerate(model(x, samples(mask), mode='predict')):
        alone = model.loss(x[i : i + 1], samples(mask[i : i + 1]))['loss'].detach()
        assert sample.masked_losses['loss'] == pytest.approx(float(alone))


def test_reconstruct_pastes_the_prediction_into_the_masked_area(batch):
    images, mask = batch
    model = build().eval()
    x = model.data_preprocessor.normalize(images)
    out = model.reconstruct(x, mask)
    hidden = out['mask'].expand_as(x)
    torch.testing.assert_close(out['original'], images.float(), rtol=0, atol=1e-3)
    assert torch.equal(out['reconstruction'][hidden], out['prediction'][hidden])
    assert torch.equal(out['reconstruction'][~hidden], out['original'][~hidden])
    colors = torch.tensor(MEAN).view(1, 3, 1, 1).expand_as(x)
    assert torch.equal(out['masked'][hidden], colors[hidden])
    torch.testing.assert_close(out['target'], out['original'])


def test_a_missing_mask_says_what_to_add(batch):
    images, _ = batch
    with pytest.raises(ValueError, match='mask transform'):
        build()(images.float(), [BaseDataElement()], mode='loss')
    with pytest.raises(ValueError, match='mode must be'):
        build()(images.float(), None, mode='losses')
