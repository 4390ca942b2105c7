import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement
from torch import nn
from torch.testing import assert_close

from simmim_mm.evaluation import ForegroundIoU
from simmim_mm.models.heads import ForegroundBranch
from simmim_mm.registry import MODELS

DECODER = dict(type='PixelShuffleDecoder', in_channels=8, stride=8)
BRANCH = dict(type='ForegroundBranch', neck=dict(DECODER, out_channels=1), loss_weight=0.5)


@MODELS.register_module()
class _TokenBackbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = nn.Conv2d(3, 8, 8, 8)

    def forward(self, x, mask=None):
        x = self.proj(x)
        return (x if mask is None else x.masked_fill(mask[:, None], 0.0),)


def build(**kwargs):
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type='MaskedImageModel',
            backbone=dict(type='_TokenBackbone'),
            neck=DECODER,
            head=dict(type='PixelHead'),
            data_preprocessor=dict(type='MIMDataPreprocessor', mean=[0.0] * 3, std=[1.0] * 3),
            **kwargs,
        )
    )


@pytest.fixture
def batch():
    torch.manual_seed(1)
    x, mask = torch.randn(3, 3, 16, 24), torch.rand(3, 2, 3) < 0.5
    mask[:, 0, 0], mask[:, 1, 1] = True, False
    labels = (torch.rand(3, 16, 24) < 0.3).to(torch.uint8)
    samples = [BaseDataElement(mask=m, foreground=y.numpy()) for m, y in zip(mask, labels)]
    return x, samples, labels


@pytest.mark.parametrize('coarse', [1, 4])
def test_loss_is_the_formula(coarse):
    torch.manual_seed(0)
    branch = ForegroundBranch(dict(DECODER, out_channels=1), loss_weight=0.3, dice_weight=2.0)
    labels = (torch.rand(2, 1, 8, 12) < 0.4).double()
    logits = torch.randn(2, 1, 8 // coarse, 12 // coarse).double()
    loss = branch.loss(logits, labels)['loss_foreground']

    expected, f = 0.0, labels.mean()
    for z, label in zip(logits, labels):
        y = label.view(8 // coarse, coarse, 12 // coarse, coarse).mean((1, 3))
        p = 1 / (1 + (-z[0]).exp())
        weight = y / (2 * f) + (1 - y) / (2 * (1 - f))
        bce = -(weight * (y * p.log() + (1 - y) * (1 - p).log())).mean()
        dice = 1 - 2 * (p * y).sum() / (p.sum() + y.sum() + 1)
        expected += 0.3 * (bce + 2.0 * dice) / 2
    assert_close(loss, expected)


def test_an_image_without_foreground_is_finite():
    branch = ForegroundBranch(dict(DECODER, out_channels=1))
    logits = torch.full((1, 1, 4, 4), -1e4, requires_grad=True)
    loss = branch.loss(logits, torch.zeros(1, 1, 4, 4))['loss_foreground']
    loss.backward()
    assert loss.item() == pytest.approx(branch.loss_weight)  # the dice of nothing and nothing
    assert logits.grad.isfinite().all()


def test_weighted_loss_stands_beside_the_reconstruction(batch):
    x, samples, labels = batch
    plain, both = build(), build(foreground=BRANCH)
    losses = both.loss(x, samples)
    assert set(losses) == {'loss', 'loss_foreground'}
    assert_close(losses['loss'], plain.loss(x, samples)['loss'])
    mask = torch.stack([s.mask for s in samples])
    logits = both.foreground(both.backbone(x, mask), mask)
    expected = both.foreground.loss(logits, labels[:, None].float())
    assert_close(losses['loss_foreground'], expected['loss_foreground'])
    # mmengine adds up what is called a loss
    total, _ = both.parse_losses(losses)
    assert_close(total, losses['loss'] + losses['loss_foreground'])


def test_features_learn_from_it_and_weight_zero_is_training_without(batch):
    x, samples, _ = batch
    gradients = {}
    for weight in (None, 0.0, 0.5):
        model = build(
            **({} if weight is None else dict(foreground=dict(BRANCH, loss_weight=weight)))
        )
        sum(model.loss(x, samples).values()).backward()
        gradients[weight] = model.backbone.proj.weight.grad
    assert_close(gradients[0.0], gradients[None])
    assert not torch.allclose(gradients[0.5], gradients[None], atol=1e-4)


def test_iou_counts_pixels_of_all_images_together(batch):
    x, samples, labels = batch
    model = build(foreground=BRANCH).eval()
    metric = ForegroundIoU()
    for part in (slice(0, 2), slice(2, 3)):
        results = model(x[part], samples[part], mode='predict')
        metric.process(None, [sample.to_dict() for sample in results])
    mask = torch.stack([s.mask for s in samples])
    predicted = (model.foreground(model.backbone(x, mask), mask) > 0)[:, 0].numpy()
    truth = labels.numpy().astype(bool)
    figures = metric.compute_metrics(metric.results)
    assert figures['iou'] == np.sum(predicted & truth) / np.sum(predicted | truth)
    assert figures['share'] == truth.mean()


def test_all_foreground_has_the_iou_of_its_share():
    """Which is why the share is reported beside it."""
    branch = ForegroundBranch(dict(DECODER, out_channels=1))
    labels = (torch.rand(4, 1, 16, 16) < 0.2).float()
    metric = ForegroundIoU()
    metric.results = branch.counts(torch.ones(4, 1, 16, 16), labels)
    figures = metric.compute_metrics(metric.results)
    assert figures['iou'] == figures['share'] == pytest.approx(float(labels.mean()))


def test_coarse_predictions_are_counted_in_pixels():
    branch = ForegroundBranch(dict(DECODER, out_channels=1))
    labels = torch.zeros(1, 1, 8, 8)
    labels[..., :4, :2] = 1
    logits = torch.tensor([[1.0, -1.0], [-1.0, -1.0]])[None, None]
    assert branch.counts(logits, labels) == [
        dict(intersection=8, union=16, foreground=8, pixels=64)
    ]


def test_picture_shows_the_probability(batch):
    x, samples, _ = batch
    model = build(foreground=BRANCH).eval()
    mask = torch.stack([s.mask for s in samples])
    pictures = model.reconstruct(x, mask)
    logits = model.foreground(model.backbone(x, mask), mask)
    assert_close(pictures['foreground'], 1 / (1 + (-logits.detach()).exp()))
    assert 'foreground' not in build().reconstruct(x, mask)


def test_errors_say_what_to_change(batch):
    x, samples, _ = batch
    for sample in samples:
        del sample.foreground
    with pytest.raises(ValueError, match='LoadForeground'):
        build(foreground=BRANCH).loss(x, samples)
    with pytest.raises(ValueError, match='out_channels=1'):
        build(foreground=dict(type='ForegroundBranch', neck=dict(DECODER, out_channels=3)))
    with pytest.raises(ValueError, match='ForegroundBranch'):
        ForegroundIoU().process(None, [dict(masked_losses={})])
    with pytest.raises(ValueError, match='labels'):
        none = dict(intersection=0, union=3, foreground=0, pixels=9)
        ForegroundIoU().compute_metrics([none])
