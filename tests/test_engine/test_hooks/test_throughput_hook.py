import os

import pytest
from mmengine.hooks import Hook


def test_images_by_time_without_the_first_iterations(make_runner):
    seconds = iter([100.0, 50.0, 1.0, 3.0, 2.0, 4.0, 1.0, 1.0, 1.0, 1.0])

    class Clock(Hook):
        """In the place of IterTimerHook."""

        def after_train_iter(self, runner, *args, **kwargs):
            runner.message_hub.update_scalar('train/time', next(seconds))

    runner = make_runner()
    runner.register_hook(Clock(), 'NORMAL')
    runner.register_hook(dict(type='ThroughputHook', window=3, skip=2))
    runner.train()
    got = runner.message_hub.get_scalar('train/images_per_second').data[0]
    expected = [4 / 1, 8 / 4, 12 / 6, 12 / 9, 12 / 7, 12 / 6, 12 / 3, 12 / 3]
    assert got.tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ('waited', 'told'), [(9.0, True), (2.0, False), (0.09, False)], ids=['long', 'little', 'short']
)
def test_loading_that_is_the_limit_is_told_once(make_runner, monkeypatch, waited, told):
    class Clock(Hook):
        """In the place of IterTimerHook; 10 seconds an iteration, or a tenth."""

        def after_train_iter(self, runner, *args, **kwargs):
            runner.message_hub.update_scalar('train/time', 10.0 if waited > 1 else 0.1)
            runner.message_hub.update_scalar('train/data_time', waited)

    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: set(range(8)))
    runner = make_runner()
    runner.register_hook(Clock(), 'NORMAL')
    runner.register_hook(dict(type='ThroughputHook', window=4, skip=2))
    lines = []
    monkeypatch.setattr(runner.logger, 'warning', lines.append)
    runner.train()
    lines = [line for line in lines if 'Loading is the limit' in line]
    assert len(lines) == told
    if told:
        assert '90% of the time' in lines[0] and 'num_workers=7 instead of 0' in lines[0]
