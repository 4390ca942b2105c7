"""Trackers that fail warn once, and the training goes on."""

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import VISBACKENDS
from mmengine.visualization import BaseVisBackend, Visualizer

from simmim_mm.visualization.guarded_backend import TrackerError, guarded

IMAGE = np.zeros((2, 2, 3), np.uint8)


class Tracker(BaseVisBackend):
    """Notes its calls; fails in those of ``failing``, with its error."""

    def __init__(self, calls, failing=(), error=ValueError('disk'), save_dir=None):
        super().__init__(save_dir)
        self.calls, self.failing, self.error = calls, failing, error

    experiment = 'of the tracker'

    def _init_env(self): ...

    def _note(self, *call):
        self.calls.append(call)
        if call[0] in self.failing:
            raise self.error

    def add_config(self, config, **kwargs):
        self._note('config')

    def add_image(self, name, image, step=0, **kwargs):
        self._note('image', name, step)

    def add_scalar(self, name, value, step=0, **kwargs):
        self._note('scalar', value)

    def add_scalars(self, scalar_dict, step=0, file_path=None, **kwargs):
        self._note('scalars', scalar_dict)

    def close(self):
        self._note('close')


@pytest.fixture
def told(monkeypatch) -> list[str]:
    """What is logged."""
    lines = []
    monkeypatch.setattr(MMLogger, 'warning', lambda self, text: lines.append(text))
    return lines


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.setitem(VISBACKENDS.module_dict, 'Tracker', Tracker)

    def make(**settings):
        calls = []
        backends = [dict(type='Tracker', calls=calls, **settings), dict(type='LocalVisBackend')]
        cfg = guarded(dict(vis_backends=backends))
        return Visualizer(**cfg, save_dir=str(tmp_path)), calls

    return make


def test_everything_arrives_under_the_name_of_the_tracker(make):
    visualizer, calls = make()
    visualizer.add_config(Config())
    visualizer.add_image('reconstruction', IMAGE, step=3)
    visualizer.add_scalar('a', 1)
    visualizer.add_scalars(dict(b=2))
    visualizer.close()
    assert calls == [
        ('config',),
        ('image', 'reconstruction', 3),
        ('scalar', 1),
        ('scalars', dict(b=2)),
        ('close',),
    ]
    assert visualizer.get_backend('Tracker').experiment == 'of the tracker'


def test_a_failing_picture_is_warned_of_once_and_scalars_still_arrive(make, tmp_path, told):
    visualizer, calls = make(failing=('image',))
    for step in range(5):
        visualizer.add_image('reconstruction', IMAGE, step=step)
        visualizer.add_scalar('a', step)
    assert told == ['Tracker: add_image failed (ValueError: disk); the training goes on.']
    assert [call for call in calls if call[0] == 'scalar'] == [('scalar', i) for i in range(5)]
    assert len(list(tmp_path.rglob('reconstruction_*.png'))) == 5  # the files on the disk


def test_a_dead_tracker_is_left_out_after_three_failures(make, told):
    visualizer, calls = make(failing=('config', 'scalar', 'close'), error=OSError('no server'))
    visualizer.add_config(Config())
    for step in range(9):
        visualizer.add_scalar('a', step)
    visualizer.close()
    assert len(told) == 2 and 'no server' in told[0] and 'is left out from here on' in told[1]
    assert len(calls) == 3


def test_a_package_that_is_missing_is_an_error_before_the_training(make):
    visualizer, _ = make(failing=('config',), error=ImportError('run "pip install tracker"'))
    with pytest.raises(TrackerError, match='Tracker in vis_backends: run "pip install tracker"'):
        visualizer.add_config(Config())
