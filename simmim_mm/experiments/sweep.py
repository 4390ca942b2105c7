"""A sweep: one pretraining config under changed settings, and a probe of each."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from itertools import product
from pathlib import Path
from typing import Any

from mmengine.config import Config

from simmim_mm._renamed import renamed_attributes, warn_renamed
from simmim_mm.catalog import find_config, read_config_file
from simmim_mm.datasets.image_dataset import single_datasets
from simmim_mm.experiments import report
from simmim_mm.experiments.labeled_data import read_class_folders
from simmim_mm.experiments.pretrained import read_pretrained
from simmim_mm.experiments.scalars import checkpoint_files
from simmim_mm.experiments.tables import write_csv
from simmim_mm.experiments.trial import Outcome, Trial, fingerprint

_PROBES = dict(knn='knn/accuracy', linear='accuracy/top1', log=None)


@dataclass
class Case:
    """One of the settings that a sweep compares.

    Attributes:
        columns: What is varied, by its short name, as it is written into the table.
        cfg: The pretraining.
    """

    name: str
    columns: dict[str, str | float | None]
    cfg: Config


@renamed_attributes(figure='metric')
@dataclass
class Sweep:
    """A sweep file.

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


def load_sweep(path: str | Path) -> Sweep:
    """Read a sweep file; ``base`` is looked for beside it, in the working directory and by name.

    Raises:
        FileNotFoundError: If it or its base does not exist.
        ValueError: If a key or the kind of probe is not known, or keys are missing or contradict
            each other.
    """
    path, _ = find_config(path)
    content = read_config_file(path).to_dict()
    known = [setting.name for setting in fields(Sweep)]
    if unknown := [key for key in content if key not in known]:
        raise ValueError(f'{path}: unknown {", ".join(unknown)}; known are {", ".join(known)}')
    if 'base' not in content:
        raise ValueError(f"{path}: give base = 'CONFIG', the pretraining to vary")
    plan = Sweep(**content)
    beside = path.parent / plan.base
    try:
        base, changed = find_config(beside if beside.is_file() else plan.base)
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{path}: {error}') from None
    plan.base, plan.options = str(base), {**changed, **plan.options}
    if bool(plan.sweep) == bool(plan.cases):
        raise ValueError(f'{path}: give either sweep or cases')
    if plan.iters and plan.epochs:
        raise ValueError(f'{path}: give epochs or iters, not both')
    if 'figure' in plan.probe:
        warn_renamed("probe['figure']", "probe['metric']")
        plan.probe['metric'] = plan.probe.pop('figure')
    kind = plan.probe.get('type')
    if kind not in _PROBES:
        raise ValueError(f'{path}: probe.type is {kind!r}; known are {", ".join(_PROBES)}')
    needed = 'metric' if kind == 'log' else 'data'
    if not plan.probe.get(needed):
        raise ValueError(f'{path}: a probe of type {kind!r} needs {needed}')
    return plan


def sweep_cases(plan: Sweep) -> list[Case]:
    """The cases of a sweep, in order.

    Raises:
        ValueError: If a setting is varied that the config does not have.
    """
    from simmim_mm.experiments.downstream import set_budget  # imports torch

    varied = [(case['name'], dict(case=case['name']), case['options']) for case in plan.cases]
    for values in product(*plan.sweep.values()) if plan.sweep else ():
        options = dict(zip(plan.sweep, values))
        columns = _columns(options)
        varied.append((', '.join(f'{k}={v}' for k, v in columns.items()), columns, options))
    cases = []
    for name, columns, options in varied:
        cfg = read_config_file(plan.base)
        set_budget(cfg, plan.iters, plan.epochs)
        for key, value in {**plan.options, **options}.items():
            _set(cfg, key, value)
        if plan.probe['type'] == 'knn':
            _add_knn(cfg, plan.probe)
        cases.append(Case(name, {**columns, 'avg_dist': mask_distance(cfg)}, cfg))
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
    steps = _mask_steps(cfg)
    if not steps:
        raise ValueError(f'{key}: no step of the pipelines makes a mask')
    for step in steps:
        if rest:
            step[rest] = value
        else:
            for name in set(step) - {'token_stride'}:
                del step[name]
            step.update(value)


def _mask_steps(cfg: Config) -> list[dict]:
    """Steps of the data loaders' pipelines that make a mask."""
    loaders = (cfg.get(name) or {} for name in ('train_dataloader', 'val_dataloader'))
    parts = (part for loader in loaders for _, part in single_datasets(loader))
    return [step for part in parts for step in part.get('pipeline', []) if 'Mask' in step['type']]


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

    step = next(iter(_mask_steps(cfg)), None)
    size = (cfg.model.get('backbone') or {}).get('img_size')
    if step is None or size is None or 'Semantic' in step['type']:
        return None
    size = (size, size) if isinstance(size, int) else tuple(size)
    generator, stride = TRANSFORMS.build(dict(step)), token_stride(cfg.model)
    return measure_generator(generator, size, draws, token_stride=stride)['avg_dist']


def data_folders(node: Any) -> list[str]:
    """Every ``data_root`` of the training data."""
    loader = node.train_dataloader if isinstance(node, Config) else node
    return [part['data_root'] for _, part in single_datasets(loader) if part.get('data_root')]


def make_trials(plan: Sweep, cases: Sequence[Case]) -> list[Trial]:
    """All cases with the first seed, then with the next.

    Raises:
        DataError: If the data of the probe cannot be used.
        FileNotFoundError: If a folder does not exist.
    """
    from simmim_mm.evaluation.knn import load_split

    probe_data = [] if plan.probe['type'] == 'log' else [str(plan.probe['data'])]
    for folder in probe_data:
        load_split(folder)  # or raises
    # A linear probe comes after; of the pretraining itself any logged metric will do.
    metric = 'loss' if plan.probe['type'] == 'linear' else plan.metric
    digests: dict[tuple, str] = {}
    trials = []
    for seed in plan.all_seeds:
        for case in cases:
            paths = (*data_folders(case.cfg), *probe_data)
            digests.setdefault(paths, fingerprint(paths))
            trials.append(Trial(case.name, case.cfg, metric, seed, data=digests[paths]))
    return trials


def linear_probes(plan: Sweep, outcomes: Sequence[Outcome], configs: str | Path) -> list[Trial]:
    """Trainings of a linear layer on the features of each pretraining that has not failed.

    Args:
        configs: The folder ``configs`` of the project.

    Raises:
        FileNotFoundError: If a pretraining has left no checkpoint.
    """
    from simmim_mm.experiments.downstream import downstream_config, set_budget

    data = read_class_folders(plan.probe['data'])
    digest = fingerprint([plan.probe['data']])
    trials = []
    for outcome in outcomes:
        if outcome.error:
            continue
        name, seed = outcome.trial.name, outcome.trial.seed
        if not (checkpoints := checkpoint_files(outcome.work_dir)):
            raise FileNotFoundError(
                f'no checkpoint in {outcome.work_dir}: let the config write one at the end of the '
                'training'
            )
        path = checkpoints[-1]
        start = read_pretrained(name, path)
        cfg = downstream_config('linear', configs, start.backbone or {}, start.preprocessor, data)
        set_budget(cfg, epochs=plan.probe.get('epochs'))
        cfg.model.backbone.init_cfg = start.init_cfg
        known = f'{digest} {fingerprint([path])}'
        trials.append(Trial(name, cfg, plan.metric, seed, data=known))
    return trials


def write_results(
    plan: Sweep, cases: Sequence[Case], outcomes: Sequence[Outcome], work_dir: str | Path
) -> str:
    """Write results.csv, results.md, trials.csv and the plots; returns the table and their names.

    Raises:
        ValueError: If a plot names a column that does not exist.
    """
    work_dir, means = Path(work_dir), report.summarize(outcomes)
    rows = []
    for case in cases:
        result = {key: means[case.name][key] for key in ('mean', 'sd', 'seeds', 'minutes')}
        rows.append({**case.columns, plan.metric: result.pop('mean'), **result})
    report.write_rows(work_dir, rows)
    write_csv(work_dir / 'trials.csv', report.trial_rows(outcomes))
    files = [work_dir / 'results.csv', work_dir / 'results.md', *_plot(plan, rows, work_dir)]
    return f'{report.text_table(rows)}\n\nwrote {", ".join(map(str, files))}'


def _plot(plan: Sweep, rows: Sequence[dict], work_dir: Path) -> list[Path]:
    varied = list(rows[0])[: list(rows[0]).index('avg_dist')]
    plots = plan.plots or [
        dict(x=varied[0], group=varied[1] if len(varied) > 1 else None),
        dict(x='avg_dist', group=varied[-1] if len(varied) > 1 else None),
    ]
    files = []
    for plot in plots:
        for column in (plot['x'], plot.get('group')):
            if column is not None and column not in rows[0]:
                raise ValueError(f'plots: no column {column!r}; there are {", ".join(rows[0])}')
        if all(row[plot['x']] is None or row[plan.metric] is None for row in rows):
            continue
        slug = re.sub(r'\W+', '_', plot['x'])
        files.append(work_dir / f'results_{slug}.png')
        report.plot_columns(files[-1], rows, plot['x'], plan.metric, 'sd', plot.get('group'))
    return files
