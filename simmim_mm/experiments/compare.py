"""Trainings from checkpoints and from scratch on equal terms, and what comes of them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config

from simmim_mm.experiments import report
from simmim_mm.experiments.downstream import TASK_METRICS
from simmim_mm.experiments.pretrained import (
    Pretrained,
    check_fits,
    named_file,
    read_pretrained,
)
from simmim_mm.experiments.scalars import seconds_taken
from simmim_mm.experiments.tables import write_csv
from simmim_mm.experiments.trial import Outcome, Trial, fingerprint

SCRATCH = 'from scratch'


class Start(NamedTuple):
    """Where trainings start from."""

    name: str  # in the table
    settings: dict  # the config; of a kNN probe, the config of the backbone
    checkpoint: str | None  # None = random weights
    baseline: str  # name of the start from scratch that it is compared with
    label_share: float | None = None  # fraction of the labels, where several are compared

    @property
    def plain_name(self) -> str:
        """The name without the fraction."""
        return self.name.removesuffix(_share_text(self.label_share))

    def at_share(self, share: float) -> 'Start':
        """The same, named after its fraction of the labels."""
        text = _share_text(share)
        return self._replace(
            name=self.name + text, baseline=self.baseline + text, label_share=share
        )


def _share_text(share: float | None) -> str:
    return '' if share is None else f', {100 * share:g}% of the labels'


def read_checkpoints(texts: Sequence[str]) -> list[Pretrained]:
    """Read checkpoints given as ``FILE`` or ``NAME=FILE``.

    Raises:
        FileNotFoundError: If a file does not exist.
        ValueError: If one is no checkpoint, or two have the same name.
    """
    found = []
    for text in texts:
        name, path = named_file(text)
        found.append(read_pretrained(name or f'{Path(path).parent.name}/{Path(path).stem}', path))
    names = [SCRATCH, *(pretrained.name for pretrained in found)]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f'the name {twice.pop()!r} is taken twice: name them as NAME=FILE')
    return found


def check_starts(checkpoints: Sequence[Pretrained], configs: Sequence[Config]) -> list[Start]:
    """See that configs and checkpoints fit together, before the first training.

    Args:
        checkpoints: What to start from.
        configs: What to train, one for each; ``model.backbone.init_cfg`` is replaced.

    Raises:
        ValueError: If they do not fit.
    """
    starts: list[Start] = []
    for pretrained, cfg in zip(checkpoints, configs):
        backbone = cfg.model.backbone
        backbone.init_cfg = None
        baseline = _add_scratch(starts, pretrained, cfg.to_dict())
        check_fits(backbone.to_dict(), pretrained)
        backbone.init_cfg = pretrained.init_cfg
        starts.append(Start(pretrained.name, cfg.to_dict(), pretrained.path, baseline))
    return starts


def _add_scratch(starts: list[Start], pretrained: Pretrained, settings: dict) -> str:
    """Add a start from scratch unless there is one of equal settings; returns its name."""
    scratch = [start for start in starts if start.checkpoint is None]
    if equal := [start.name for start in scratch if start.settings == settings]:
        return equal[0]
    name = f'{SCRATCH} ({pretrained.name})' if scratch else SCRATCH
    starts.append(Start(name, settings, None, name))
    return name


def make_trials(
    starts: Sequence[Start], paths: Sequence[Path], task: str, metric: str | None, seeds: int
) -> list[Trial]:
    """All starts with the first seed, then with the second: a first answer comes early."""
    data, metric = fingerprint(paths), metric or TASK_METRICS[task]
    absent = 0.0 if task == 'detection' else None
    trials = []
    for seed in range(seeds):
        for name, settings, path, *_ in starts:
            known = f'{data} {fingerprint([path])}' if path else data
            trials.append(Trial(name, Config(settings), metric, seed, data=known, absent=absent))
    return trials


def run_knn_probe(
    checkpoints: Sequence[Pretrained], data: str | Path, seeds: int, tell: Callable[[str], None]
) -> tuple[list[Outcome], list[Start]]:
    """Nearest neighbors in the place of trainings; ``tell`` is called with lines of progress."""
    from simmim_mm.experiments.knn_probe import run_knn

    starts: list[Start] = []
    runs = []
    for pretrained in checkpoints:
        settings, known = pretrained.backbone or {}, len(starts)
        baseline = _add_scratch(starts, pretrained, settings)
        if len(starts) > known:  # it loads images as this checkpoint does
            runs.append((baseline, pretrained, False))
        starts.append(Start(pretrained.name, settings, pretrained.path, baseline))
        runs.append((pretrained.name, pretrained, True))
    return run_knn(runs, data, seeds, tell), starts


def conclude(outcomes: Sequence[Outcome], starts: Sequence[Start], work_dir: str | Path) -> str:
    """Write results.csv, results.md, results.png and trials.csv; returns table and verdicts.

    Of several fractions of the labels, label_share.png shows the curves. ``pretraining`` are the
    minutes that the log beside the checkpoint tells; None where there is no log.
    """
    work_dir, metric = Path(work_dir), outcomes[0].trial.metric
    by_name = {start.name: start for start in starts}
    several = any(start.label_share is not None for start in starts)
    table, verdicts = [], []
    for name, row in report.summarize(outcomes).items():
        start, found = by_name[name], None
        if start.baseline != name:
            found = report.pair(outcomes, name, start.baseline)
            verdicts.append(report.verdict(found, name, by_name[start.baseline].plain_name))
        share = dict(label_share=start.label_share) if several else {}
        others = {key: value for key, value in row.items() if key != 'mean'}
        took = start.checkpoint and seconds_taken(Path(start.checkpoint).parent) / 60
        others['pretraining'] = took or None
        table.append(
            {'start': start.plain_name, **share, metric: row['mean'], **others}
            | {key: getattr(found, key, None) for key in ('difference', 'low', 'high')}
        )
    report.write_rows(work_dir, table, '\n\n'.join(verdicts))
    write_csv(work_dir / 'trials.csv', report.trial_rows(outcomes))
    if any(outcome.error is None for outcome in outcomes):
        report.plot_starts(work_dir / 'results.png', outcomes)
        if several:
            curve = work_dir / 'label_share.png'
            columns, x_label = ('label_share', metric, 'sd', 'start'), 'share of the labels'
            report.plot_columns(curve, table, *columns, x_label=x_label, scale='log')
    return '\n'.join([report.text_table(table), '', *verdicts])
