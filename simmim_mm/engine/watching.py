"""What lets a training be watched: trackers by name, and a probe of its features."""

import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

from simmim_mm.visualization.guarded_backend import TrackerError

# What of a config MLflow shows as a table of parameters; the whole is a file of each of its runs.
_PARAMETERS = ('train_cfg', 'optim_wrapper', 'randomness', 'model')


class _Tracker(NamedTuple):
    """Modules that it imports, the extra with them, and its settings for a config."""

    modules: tuple[str, ...]
    extra: str
    settings: Callable[[Config], dict]


def _tensorboard(cfg: Config) -> dict:
    return dict(type='TensorboardVisBackend')


def _mlflow(cfg: Config) -> dict:
    work_dir = Path(cfg.work_dir).absolute()
    settings = dict(
        type='MLflowVisBackend',
        exp_name=os.environ.get('MLFLOW_EXPERIMENT_NAME', 'simmim_mm'),
        run_name=work_dir.name,
        tracked_config_keys=[key for key in _PARAMETERS if cfg.get(key)],
    )
    if uri := os.environ.get('MLFLOW_TRACKING_URI'):
        return dict(settings, tracking_uri=uri)
    # Version 3 refuses plain folders, and would put the files of a database's runs into ./mlruns.
    store = work_dir.parent
    return dict(
        settings,
        tracking_uri=f'sqlite:///{store / "mlflow.db"}',
        artifact_location=(store / 'mlartifacts').as_uri(),
    )


def _wandb(cfg: Config) -> dict:
    work_dir = Path(cfg.work_dir).absolute()
    return dict(
        type='WandbVisBackend',
        init_kwargs=dict(
            project=os.environ.get('WANDB_PROJECT', 'simmim_mm'),
            name=work_dir.name,
            dir=str(work_dir),
        ),
        # the backend hands on no step
        define_metric_cfg=[dict(name='*', step_metric='iter')],
    )


TRACKERS = dict(
    tensorboard=_Tracker(('tensorboard',), 'demo', _tensorboard),
    mlflow=_Tracker(('mlflow', 'sqlalchemy', 'alembic'), 'trackers', _mlflow),
    wandb=_Tracker(('wandb',), 'trackers', _wandb),
)


def tracker_settings(name: str, cfg: Config) -> dict:
    """The backend of a tracker, as a config has it.

    Args:
        name: Of :data:`TRACKERS`.
        cfg: Of the training, with its work dir. A local store of MLflow is made beside it, so that
            the runs of a folder share one; ``MLFLOW_TRACKING_URI``, ``MLFLOW_EXPERIMENT_NAME`` and
            ``WANDB_PROJECT`` have priority.

    Raises:
        TrackerError: See :func:`require_tracker`.
    """
    require_tracker(name)
    return TRACKERS[name].settings(cfg)


def require_tracker(name: str) -> None:
    """Make sure that a tracker can be imported.

    Raises:
        TrackerError: If its packages are not installed; one line that names the extra.
    """
    tracker = TRACKERS[name]
    if missing := [module for module in tracker.modules if find_spec(module) is None]:
        raise TrackerError(
            f'--logger {name} needs {", ".join(missing)}: '
            f"pip install '.[{tracker.extra}]' in the repository"
        )


def watch(cfg: Config, loggers: Sequence[str] = (), probe: str | Path | None = None) -> None:
    """Enter trackers and a probe into the config of a training.

    Raises:
        TrackerError: See :func:`tracker_settings`.
    """
    if loggers:
        add_trackers(cfg, loggers)
    if probe is not None:
        add_probe(cfg, probe)


def add_trackers(cfg: Config, names: Sequence[str]) -> None:
    """Have a training write to trackers too; one that its config has already stays as it is.

    Raises:
        TrackerError: See :func:`tracker_settings`.
    """
    visualizer = cfg.get('visualizer') or dict(type='Visualizer')
    given: Any = visualizer.get('vis_backends') or dict(type='LocalVisBackend')
    backends: list[dict] = [given] if isinstance(given, dict) else list(given)
    for name in names:
        settings = tracker_settings(name, cfg)
        if not any(str(x.get('type')).endswith(settings['type']) for x in backends):
            backends.append(settings)
    cfg.visualizer = dict(visualizer, vis_backends=backends)


def add_probe(cfg: Config, data_root: str | Path) -> None:
    """Have a pretraining measure its features, see :class:`~simmim_mm.engine.hooks.ProbeHook`.

    At every validation; without one, ten times in all.
    """
    hook = probe_settings(cfg, data_root)
    hooks = list(cfg.get('custom_hooks') or [])
    if not any(x.get('data_root') == hook['data_root'] for x in hooks):
        cfg.custom_hooks = [*hooks, hook]


def probe_settings(cfg: Config, data_root: str | Path) -> dict:
    """The hook that :func:`add_probe` adds."""
    hook: dict = dict(type='simmim_mm.ProbeHook', data_root=str(data_root))
    if cfg.get('val_cfg') is not None:
        return hook
    by_epoch = not cfg.train_cfg.get('max_iters')
    length = cfg.train_cfg.max_epochs if by_epoch else cfg.train_cfg.max_iters
    return dict(hook, interval=max(1, length // 10), by_epoch=by_epoch)
