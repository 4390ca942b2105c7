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
