import os

import pytest
import torch
from engine_toys import NoisyRegression, losses_of

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


def test_loss_is_logged_at_full_precision(make_runner):
    runner = make_runner()
    runner.train()
    assert all(float(torch.tensor(v, dtype=torch.float32)) == v for v in losses_of(runner))
