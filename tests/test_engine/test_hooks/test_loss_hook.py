import os

import pytest
import torch
from engine_toys import NoisyRegression, losses_of
from mmengine.structures import BaseDataElement

from simmim_mm.engine.hooks import LossHook, NonFiniteLossError


def test_stops_before_the_bad_weights_are_saved(make_runner, tmp_path):
    runner = make_runner(NoisyRegression(poison=[8]))
    with pytest.raises(NonFiniteLossError, match=r'loss is nan in iteration 8 \(epoch 2\)'):
        runner.train()
    assert 'iter_7.pth' in os.listdir(tmp_path / 'work')
    assert 'iter_8.pth' not in os.listdir(tmp_path / 'work')
    saved = torch.load(tmp_path / 'work' / 'iter_7.pth', weights_only=False)['state_dict']
    assert all(bool(v.isfinite().all()) for v in saved.values())


@pytest.mark.parametrize('bad, stops', [(range(3, 6), False), (range(3, 7), True)])
def test_patience_while_a_gradient_scaler_skips_steps(make_runner, bad, stops):
    class Scaler:
        def is_enabled(self):
            return True

    runner = make_runner(NoisyRegression(poison=bad), hooks=[dict(type='LossHook', patience=3)])
    runner.build_train_loop(runner.train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.optim_wrapper.loss_scaler = Scaler()
    hook = LossHook(patience=3)
    losses = [float('nan') if i in bad else 1.0 for i in range(10)]

    def run():
        for loss in losses:
            hook.after_train_iter(runner, 0, outputs=dict(loss=torch.tensor(loss)))

    if stops:
        with pytest.raises(NonFiniteLossError):
            run()
    else:
        run()


class SpoiledLast(NoisyRegression):
    """A gradient without bounds: the eighth loss is finite, the weights are no longer."""

    def train_step(self, data, optim_wrapper):
        losses = super().train_step(data, optim_wrapper)
        if len(self.seen) == 8:
            self.layer.weight.data[0, 0] = float('inf')
        return losses


@pytest.mark.parametrize('kind', ['CheckpointHook', 'AtomicCheckpointHook'])
@pytest.mark.parametrize('by_epoch', [True, False])
def test_the_only_checkpoint_that_is_kept_stays_the_sound_one(
    make_runner, tmp_path, kind, by_epoch
):
    checkpoint = dict(type=kind, interval=1 if by_epoch else 4, by_epoch=by_epoch, max_keep_ckpts=1)
    runner = make_runner(SpoiledLast(), default_hooks=dict(checkpoint=checkpoint), max_epochs=3)
    with pytest.raises(NonFiniteLossError, match='diverged'):
        runner.train()
    (path,) = (tmp_path / 'work').glob('*_*.pth')
    assert path.stem == ('epoch_1' if by_epoch else 'iter_4')
    saved = torch.load(path, weights_only=False)['state_dict']
    assert all(bool(v.isfinite().all()) for v in saved.values())


def test_an_image_that_is_not_finite_is_named(make_runner):
    runner = make_runner()
    runner.build_train_loop(runner.train_loop)
    images = [torch.ones(3, 2, 2), torch.full((3, 2, 2), float('inf'))]
    samples = [BaseDataElement(metainfo=dict(img_path=name)) for name in ('good', 'bad')]
    batch = dict(inputs=images, data_samples=samples)
    with pytest.raises(NonFiniteLossError, match=r'these images hold NaN or infinity: bad\. '):
        LossHook().after_train_iter(runner, 0, batch, dict(loss=torch.tensor(float('nan'))))


def test_a_metric_that_has_nothing_to_measure_stops_nothing(make_runner):
    outputs = dict(loss=torch.tensor(1.0), acc=torch.tensor(float('nan')))
    LossHook().after_train_iter(make_runner(), 0, None, outputs)


def test_loss_is_logged_at_full_precision(make_runner):
    runner = make_runner()
    runner.train()
    assert all(float(torch.tensor(v, dtype=torch.float32)) == v for v in losses_of(runner))


def test_the_weights_of_an_iteration_are_looked_at_once(make_runner, monkeypatch):
    looked = []
    monkeypatch.setattr(
        'simmim_mm.engine.hooks.loss_hook.non_finite', lambda weights: looked.append(1) or []
    )
    runner = make_runner()
    hook = next(hook for hook in runner.hooks if isinstance(hook, LossHook))
    hook.before_val(runner)
    assert len(looked) == 1
    runner.train()  # ten iterations with a checkpoint after each, two epochs
    assert len(looked) == 11
