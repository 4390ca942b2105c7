"""Trackers (MLflow, Weights & Biases, TensorBoard, ...) that cannot end a training."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import VISBACKENDS
from mmengine.visualization import BaseVisBackend, MLflowVisBackend, WandbVisBackend

_MAX_FAILURES = 3


class TrackerError(ValueError):
    """A tracker that cannot be used at all."""


class GuardedVisBackend(BaseVisBackend):
    """Passes everything on to a tracker; where that fails, it warns once and goes on.

    After three failures in a row the tracker is no longer called: one that waits for a server takes
    the time of the training. Pictures get a name that MLflow can save. Weights & Biases gets the
    config alone, not all Python files below the working folder, unless ``log_code_name`` asks for
    them.

    Args:
        backend: Config of the tracker.
        save_dir: Its folder, unless its config names one.

    Raises:
        TrackerError: When a training begins and the tracker's package is not installed.
    """

    def __init__(self, backend: dict, save_dir: str | None = None) -> None:
        super().__init__(save_dir or '')
        self._backend: Any = VISBACKENDS.build({'save_dir': save_dir, **backend})
        if isinstance(self._backend, MLflowVisBackend):  # read when it is imported
            os.environ.setdefault('MLFLOW_LOGGING_LEVEL', 'WARNING')
            os.environ.setdefault('MLFLOW_DISABLE_TELEMETRY', 'true')
        self._with_code = bool(backend.get('log_code_name'))
        self._in_a_row, self._warned = 0, False

    @property
    def experiment(self) -> Any:
        """That of the tracker."""
        return self._backend.experiment

    def _init_env(self) -> None:
        """Nothing: the tracker prepares itself when it is first called."""

    def add_config(self, config: Config, **kwargs: Any) -> None:
        add = self._backend.add_config
        if isinstance(self._backend, WandbVisBackend) and not self._with_code:
            add = self._add_config_alone
        try:
            self._call(add, config, **kwargs)
        except ImportError as error:
            raise TrackerError(f'{self._name} in vis_backends: {error}') from error

    def _add_config_alone(self, config: Config, **kwargs: Any) -> None:
        self.experiment.config.update(config.to_dict(), allow_val_change=True)

    def add_graph(self, *args: Any, **kwargs: Any) -> None:
        self._call(self._backend.add_graph, *args, **kwargs)

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        if isinstance(self._backend, MLflowVisBackend) and not Path(name).suffix:
            name = f'{name}_{step:07d}.png'  # a file for it, and one for each step
        self._call(self._backend.add_image, name, image, step, **kwargs)

    def add_scalar(self, *args: Any, **kwargs: Any) -> None:
        self._call(self._backend.add_scalar, *args, **kwargs)

    def add_scalars(self, *args: Any, **kwargs: Any) -> None:
        self._call(self._backend.add_scalars, *args, **kwargs)

    def close(self) -> None:
        self._call(self._backend.close)

    @property
    def _name(self) -> str:
        return type(self._backend).__name__

    def _call(self, method: Callable, *args: Any, **kwargs: Any) -> None:
        if self._in_a_row == _MAX_FAILURES:
            return
        try:
            method(*args, **kwargs)
            self._in_a_row = 0
        except ImportError:
            raise
        except Exception as error:  # whatever a tracker, its server or the network come up with
            self._in_a_row += 1
            what = f'{type(error).__name__}: {error}'
            if not self._warned:
                self._warn(f'{method.__name__} failed ({what}); the training goes on')
            if self._in_a_row == _MAX_FAILURES:
                self._warn(f'failed {_MAX_FAILURES} times in a row and is left out from here on')
            self._warned = True

    def _warn(self, text: str) -> None:
        MMLogger.get_current_instance().warning(f'{self._name}: {text}.')


def guarded(visualizer: dict) -> dict:
    """The config of a visualizer with all its trackers guarded; files on the disk are not."""
    backends = visualizer.get('vis_backends') or []
    backends = [backends] if isinstance(backends, dict) else backends
    return {**visualizer, 'vis_backends': [_guard(backend) for backend in backends]}


def _guard(backend: Any) -> Any:
    if not isinstance(backend, dict) or str(backend['type']).endswith('LocalVisBackend'):
        return backend
    kind = backend['type']
    name = backend.get('name') or (kind if isinstance(kind, str) else kind.__name__).split('.')[-1]
    inner = {key: value for key, value in backend.items() if key != 'name'}
    return dict(type=GuardedVisBackend, name=name, backend=inner)
