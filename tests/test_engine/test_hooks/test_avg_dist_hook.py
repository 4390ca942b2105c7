import pytest
import torch
from mmengine.structures import BaseDataElement

from simmim_mm.masking import avg_dist, fit_mask
from simmim_mm.registry import HOOKS, MODELS


class Runner:
    """What the hook needs of mmengine's."""

    def __init__(self, model=None):
        self.iter, self.seen = 0, []
        self.message_hub, self.model = self, model

    def update_scalar(self, name, value):
        self.seen.append((self.iter, name, value))


def test_the_mean_over_a_batch_every_so_often():
    masks = torch.zeros(2, 6, 10, dtype=torch.bool)
    masks[0, 2, 2] = True  # one token of 8 pixels away
    masks[1, :, :3] = True  # one, two and three
    batch = dict(
        inputs=[torch.zeros(3, 48, 80)] * 2, data_samples=[BaseDataElement(mask=m) for m in masks]
    )
    runner, hook = Runner(), HOOKS.build(dict(type='AvgDistHook', interval=3))
    for runner.iter in range(7):
        hook.after_train_iter(runner, runner.iter, batch, {})
    assert runner.seen == [(i, 'train/avg_dist', pytest.approx(8 * 1.5)) for i in (2, 5)]


def test_masks_of_blocks_are_measured_on_the_tokens_of_the_model():
    vit = dict(embed_dims=8, num_layers=1, num_heads=2, feedforward_channels=8)
    model = MODELS.build(
        dict(
            type='MaskedImageModel',
            backbone=dict(type='MaskedViT', arch=vit, img_size=(48, 80), patch_size=4),
            neck=dict(type='PixelShuffleDecoder'),
            head=dict(type='PixelHead'),
            data_preprocessor=dict(type='MIMDataPreprocessor', mean=[0.0] * 3, std=[1.0] * 3),
        )
    )
    blocks = torch.rand(2, 3, 5, generator=torch.Generator().manual_seed(0)) < 0.5
    values = []
    for masks in (blocks, fit_mask(blocks, 2, (12, 20), 4)):
        samples = [BaseDataElement(mask=m.numpy()) for m in masks]
        runner = Runner(model)
        batch = dict(inputs=[torch.zeros(3, 48, 80)] * 2, data_samples=samples)
        HOOKS.build(dict(type='AvgDistHook', interval=1)).after_train_iter(runner, 0, batch, {})
        values.append(runner.seen[0][2])
    assert values[0] == values[1] == pytest.approx(avg_dist(masks, 4))
