import pytest
import torch
from mmengine.structures import BaseDataElement

from simmim_mm.registry import HOOKS


class Runner:
    """What the hook needs of mmengine's."""

    def __init__(self):
        self.iter, self.seen = 0, []
        self.message_hub = self

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
