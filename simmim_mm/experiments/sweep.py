"""A study: one pretraining config under changed settings."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from mmengine.config import Config

_KEYS = ('base', 'iters', 'epochs', 'options', 'sweep', 'cases', 'seeds', 'probe', 'plots')
_PROBES = dict(knn='knn/accuracy', linear='accuracy/top1', log=None)


@dataclass
class Case:
    """One of the settings that a study compares.

    Attributes:
        columns: What is varied, by its short name, as it is written into the table.
        cfg: The pretraining.
    """

    name: str
    columns: dict[str, str | float | None]
    cfg: Config


@dataclass
class Study:
    """A study file.

    Attributes:
        base: Config of the pretraining.
        iters: Length of the pretraining, its schedule of learning rates included; or ``epochs``.
        options: Settings of every case, by dotted key: the data, for one.
        sweep: Values to be tried of some settings, in every combination.
        cases: Instead of ``sweep``: a list of ``dict(name=..., options=...)``.
        seeds: Number of seeds, or a list of them.
        probe: ``dict(type='knn', data=...)`` or ``dict(type='linear', data=..., epochs=...)`` with
            a folder of ``train/<class>`` and ``val/<class>``; ``dict(type='log', metric=...)``
            takes a result of the pretraining's own validation.
        plots: Each a ``dict(x=..., group=...)`` of columns; the group may be missing.
    """

    base: str
    iters: int | None = None
    epochs: int | None = None
    options: dict = field(default_factory=dict)
    sweep: dict = field(default_factory=dict)
    cases: list = field(default_factory=list)
    seeds: int | list = 1
    probe: dict = field(default_factory=lambda: dict(type='log', metric='masked_loss/loss'))
    plots: list = field(default_factory=list)

    @property
    def metric(self) -> str:
        """Name of the result that is compared."""
        return _PROBES[self.probe['type']] or self.probe['metric']

    @property
    def all_seeds(self) -> list[int]:
        """The seeds themselves."""
        return list(range(self.seeds)) if isinstance(self.seeds, int) else list(self.seeds)


def load_study(path: str | Path) -> Study:
    """Read a study file; ``base`` is looked for beside it, then in the working directory.

    Raises:
        FileNotFoundError: If it or its base does not exist.
        ValueError: If a key or the kind of probe is not known, or keys are missing or contradict
            each other.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'no study file {path}')
    content = Config.fromfile(path).to_dict()
    if unknown := [key for key in content if key not in _KEYS]:
        raise ValueError(f'{path}: unknown {", ".join(unknown)}; known are {", ".join(_KEYS)}')
    if 'base' not in content:
        raise ValueError(f"{path}: give base = 'CONFIG', the pretraining to vary")
    study = Study(**content)
    beside = path.parent / study.base
    study.base = str(beside if beside.is_file() else study.base)
    if not Path(study.base).is_file():
        raise FileNotFoundError(f'{path}: no config {study.base}')
    if bool(study.sweep) == bool(study.cases):
        raise ValueError(f'{path}: give either sweep or cases')
    if study.iters and study.epochs:
        raise ValueError(f'{path}: give epochs or iters, not both')
    kind = study.probe.get('type')
    if kind not in _PROBES:
        raise ValueError(f'{path}: probe.type is {kind!r}; known are {", ".join(_PROBES)}')
    needed = 'metric' if kind == 'log' else 'data'
    if not study.probe.get(needed):
        raise ValueError(f'{path}: a probe of type {kind!r} needs {needed}')
    return study


def study_cases(study: Study) -> list[Case]:
    """The cases of a study, in order.

    Raises:
        ValueError: If a setting is varied that the config does not have.
    """
    if study.cases:
        varied = [(case['name'], case['options']) for case in study.cases]
        columns = [dict(case=name) for name, _ in varied]
    else:
        options = [dict(zip(study.sweep, values)) for values in product(*study.sweep.values())]
        columns = [_columns(chosen) for chosen in options]
        names = [', '.join(f'{k}={v}' for k, v in column.items()) for column in columns]
        varied = list(zip(names, options))
    from simmim_mm.experiments.downstream import set_budget  # imports torch

    cases = []
    for (name, options), column in zip(varied, columns):
        cfg = Config.fromfile(study.base)
        set_budget(cfg, study.iters, study.epochs)
        for key, value in {**study.options, **options}.items():
            _set(cfg, key, value)
        if study.probe['type'] == 'knn':
            _add_knn(cfg, study.probe)
        cases.append(Case(name, {**column, 'avg_dist': mask_distance(cfg)}, cfg))
    return cases


def _columns(options: dict[str, Any]) -> dict[str, str | float]:
    """Varied settings under the last part of their names, or the whole where that is not unique."""
    short = [key.rpartition('.')[2] for key in options]
    keys = [key if short.count(last) > 1 else last for key, last in zip(options, short)]
    return {key: _text(value) for key, value in zip(keys, options.values())}


def _text(value: Any) -> str | float:
    """A number as it is; a module as ``Type(argument=...)``."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    if isinstance(value, dict) and 'type' in value:
        arguments = (f'{k}={_text(v)}' for k, v in value.items() if k != 'type')
        return f'{value["type"]}({", ".join(arguments)})'
    if isinstance(value, (list, tuple)):
        return '+'.join(str(_text(v)) for v in value) or 'none'
    return str(value)


def _set(cfg: Config, key: str, value: Any) -> None:
    """Enter a setting. ``mask`` is the mask's step of the pipelines, wherever it stands."""
    first, _, rest = key.partition('.')
    if first != 'mask':
        cfg.merge_from_dict({key: value})
        return
    steps = list(_mask_steps(cfg))
    if not steps:
        raise ValueError(f'{key}: no step of the pipelines makes a mask')
    for step in steps:
        if rest:
            step[rest] = value
        else:
            stride = {k: step[k] for k in ('token_stride',) if k in step}
            step.clear()
            step.update({**stride, **value})


def _mask_steps(node: Any) -> Iterator[dict]:
    """Steps of the data loaders' pipelines that make a mask."""
    if isinstance(node, Config):
        for name in ('train_dataloader', 'val_dataloader'):
            yield from _mask_steps(node.get(name))
    elif isinstance(node, dict):
        for step in node.get('pipeline', []):
            if 'Mask' in step['type']:
                yield step
        yield from _mask_steps(node.get('dataset'))
        for part in node.get('datasets', []):
            yield from _mask_steps(part)


def _add_knn(cfg: Config, probe: dict) -> None:
    by_epoch = bool(cfg.train_cfg.get('max_epochs'))
    length = cfg.train_cfg.max_epochs if by_epoch else cfg.train_cfg.max_iters
    interval = length // 5 if length % 5 == 0 else length  # the end has to be among them
    settings = {key: value for key, value in probe.items() if key not in ('type', 'data')}
    hook = dict(type='KNNHook', data_root=str(probe['data']), interval=interval, by_epoch=by_epoch)
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), {**hook, **settings}]


def mask_distance(cfg: Config, draws: int = 200) -> float | None:
    """AvgDist in pixels of the masks of a config; None if they depend on the image."""
    from simmim_mm.evaluation.mask_difficulty import measure_generator, token_stride
    from simmim_mm.registry import TRANSFORMS

    step = next(_mask_steps(cfg), None)
    size = (cfg.model.get('backbone') or {}).get('img_size')
    if step is None or size is None or 'Semantic' in step['type']:
        return None
    size = (size, size) if isinstance(size, int) else tuple(size)
    stride = token_stride(cfg.model)
    return measure_generator(TRANSFORMS.build(dict(step)), size, draws, token_stride=stride)[
        'avg_dist'
    ]


def data_folders(node: Any) -> list[str]:
    """Every ``data_root`` of the training data."""
    if isinstance(node, Config):
        return data_folders(node.train_dataloader)
    if not isinstance(node, dict):
        return []
    found = [node['data_root']] if node.get('data_root') else []
    for part in [node.get('dataset'), *node.get('datasets', [])]:
        found += data_folders(part)
    return found


__all__ = ['Case', 'Study', 'data_folders', 'load_study', 'mask_distance', 'study_cases']
