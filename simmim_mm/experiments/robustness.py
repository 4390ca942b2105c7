"""Metrics under corruption: measured cell by cell, kept, and summarized over seeds."""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from math import isfinite
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import numpy as np

from simmim_mm.checkpoint.file_backend import named_failures
from simmim_mm.datasets.errors import DataError
from simmim_mm.datasets.transforms.corrupt import COMMON_CORRUPTIONS
from simmim_mm.experiments import report
from simmim_mm.experiments.evaluation import Checkpoint, Evaluation
from simmim_mm.experiments.report import mean_and_sd
from simmim_mm.experiments.scalars import is_unscored
from simmim_mm.experiments.tables import markdown_table, write_csv
from simmim_mm.experiments.trial import Outcome, Trial
from simmim_mm.visualization.grid import compose, shrink

DEFAULT_METRICS = ('accuracy/top1', 'coco/bbox_mAP', 'mIoU', 'masked_loss/loss', 'knn/accuracy')
_CELLS = 'cells.jsonl'


class Condition(NamedTuple):
    """A corruption at a severity; clean images have neither."""

    corruption: str = ''
    severity: int = 0

    def __str__(self) -> str:
        return f'{self.corruption} {self.severity}' if self.corruption else 'clean'


class Cell(NamedTuple):
    """What was measured of a checkpoint under a condition."""

    checkpoint: Checkpoint
    condition: Condition
    metrics: dict[str, float]


def conditions(corruptions: Sequence[str], severities: Sequence[int]) -> list[Condition]:
    """Clean images, then each corruption at each severity."""
    return [Condition(), *(Condition(c, s) for c in corruptions for s in severities)]


def measure(
    checkpoints: Sequence[Checkpoint],
    open_evaluation: Callable[[Checkpoint], Evaluation],
    wanted: Sequence[Condition],
    work_dir: Path,
    tell: Callable[[str], None],
    seed: int = 0,
    metric: str | None = None,
) -> list[Cell]:
    """Measure checkpoints one after another; cells that an earlier call has finished are kept.

    Args:
        checkpoints: What to measure.
        open_evaluation: Makes what measures one.
        wanted: Under which conditions.
        work_dir: Where finished cells are written, in ``cells.jsonl``.
        tell: Called with lines of progress.
        seed: Of the corruptions.
        metric: See :func:`choose_metric`; shown in lines of progress.
    """
    known, cells, left = _read_cells(work_dir / _CELLS), [], len(checkpoints) * len(wanted)
    total, seconds, measured = left, 0.0, 0
    for checkpoint in checkpoints:
        evaluation = open_evaluation(checkpoint)
        if checkpoint is checkpoints[0]:
            draw_corruptions(work_dir / 'corruptions.png', evaluation, wanted, seed)
        for condition in wanted:
            start, left = time.monotonic(), left - 1
            key = f'{evaluation.key} {seed} {condition}'
            metrics = known.get(key)
            if metrics is None:
                what = f'{total - left} of {total}: {checkpoint.name}, {condition}'
                evaluation.progress = _tell_progress(what, tell)
                metrics = evaluation.measure(_arguments(condition, seed))
                _check_finite(metrics, checkpoint, condition)
                _append(work_dir / _CELLS, dict(key=key, path=checkpoint.path, metrics=metrics))
                measured, seconds = measured + 1, seconds + time.monotonic() - start
                name = choose_metric(metrics, metric)
                rest = f', about {report.duration(left * seconds / measured)} left' if left else ''
                tell(f'{what}: {name} {metrics[name]:.4g}{rest}')
            cells.append(Cell(checkpoint, condition, metrics))
    return cells


def _tell_progress(what: str, tell: Callable[[str], None]) -> Callable[[int, int], None]:
    """Tells how much of a measurement is done, and how long the rest of it takes."""
    left_of = report.left_each_minute()

    def note(done: int, total: int) -> None:
        if done < total and (left := left_of(done, total)):
            tell(f'{what}: {done / total:.0%}, about {left} left of it')

    return note


def choose_metric(metrics: dict, wanted: str | None = None) -> str:
    """The metric that is summarized.

    Raises:
        DataError: If there is no metric of the wanted name, or none is known.
    """
    name = wanted or next((name for name in DEFAULT_METRICS if name in metrics), '')
    if name not in metrics:
        what = f'no metric {wanted!r}' if wanted else 'which metric counts is not known'
        raise DataError(f'{what}; --metric takes one of {", ".join(metrics)}')
    return name


def best_value(metric: str) -> float:
    """The value of a perfect model: 0 of a loss, 1 of COCO's precisions, else 100 percent."""
    return 0.0 if 'loss' in metric else 1.0 if metric.startswith('coco/') else 100.0


def per_checkpoint(cells: Sequence[Cell], metric: str) -> list[dict]:
    """A row for each checkpoint: ``clean``, ``corrupted`` and ``relative`` in percent.

    ``corrupted`` is the mean over severities, then over the 15 common corruptions that were
    measured (over others if none was). ``relative`` is corrupted / clean, the relative performance
    under corruption of Michaelis et al. (arXiv 1907.07484, section 3.3).
    """
    rows = []
    for checkpoint in dict.fromkeys(cell.checkpoint for cell in cells):
        own = {x.condition: x.metrics[metric] for x in cells if x.checkpoint == checkpoint}
        clean = own.pop(Condition())
        means = _means(own)
        corrupted = mean(means[name] for name in _counted(means)) if means else None
        relative = 100 * corrupted / clean if corrupted is not None and clean else None
        rows.append(
            dict(
                checkpoint=checkpoint.path,
                name=checkpoint.name,
                clean=clean,
                corrupted=corrupted,
                relative=relative,
            )
        )
    return rows


def summarize(cells: Sequence[Cell], metric: str) -> list[dict]:
    """A row for each name: means over its checkpoints, each with its standard deviation.

    Beside the columns of :func:`per_checkpoint`, ``CE`` is the mean corruption error in percent of
    that of the first name: errors (the distance to a perfect model) are summed over severities,
    divided, and averaged over corruptions (Hendrycks and Dietterich, arXiv 1903.12261, section 4.2,
    whose reference is AlexNet).
    """
    rows, singles = [], per_checkpoint(cells, metric)
    names = list(dict.fromkeys(row['name'] for row in singles))
    errors = {name: _errors(cells, name, metric) for name in names}
    for name in names:
        row: dict[str, Any] = dict(name=name, seeds=sum(x['name'] == name for x in singles))
        for column in ('clean', 'corrupted', 'relative'):
            values = [x[column] for x in singles if x['name'] == name and x[column] is not None]
            summary = mean_and_sd(values)
            row.update({column: summary['mean'], f'sd {column}': summary['sd']})
        counted = [c for c in _counted(errors[name]) if errors[names[0]].get(c)]
        ratios = [errors[name][c] / errors[names[0]][c] for c in counted]
        row['CE'] = 100 * mean(ratios) if ratios else None
        rows.append(row)
    return rows


def by_corruption(cells: Sequence[Cell], metric: str) -> list[dict]:
    """A row for each corruption: means of each name over severities, deviation over seeds."""
    names = dict.fromkeys(cell.checkpoint.name for cell in cells)
    rows = []
    for corruption in dict.fromkeys(cell.condition.corruption for cell in cells):
        row: dict[str, Any] = dict(corruption=corruption or 'clean')
        for name in names:
            values: dict[str, list[float]] = {}
            for cell in cells:
                if (cell.checkpoint.name, cell.condition.corruption) == (name, corruption):
                    values.setdefault(cell.checkpoint.path, []).append(cell.metrics[metric])
            summary = mean_and_sd(list(map(mean, values.values())))
            row.update({name: summary['mean'], f'sd {name}': summary['sd']})
        rows.append(row)
    return rows


def by_severity(cells: Sequence[Cell], metric: str) -> list[dict]:
    """A row for each name and severity, 0 = clean: mean over corruptions, deviation over seeds."""
    rows = []
    for name in dict.fromkeys(cell.checkpoint.name for cell in cells):
        own = [cell for cell in cells if cell.checkpoint.name == name]
        counted = _counted({x.condition.corruption: 0 for x in own if x.condition.corruption})
        for severity in sorted({cell.condition.severity for cell in own}):
            values: dict[str, list[float]] = {}
            for cell in own:
                if cell.condition.severity == severity and (
                    not severity or cell.condition.corruption in counted
                ):
                    values.setdefault(cell.checkpoint.path, []).append(cell.metrics[metric])
            summary = mean_and_sd(list(map(mean, values.values())))
            rows.append(dict(name=name, severity=severity, mean=summary['mean'], sd=summary['sd']))
    return rows


def write_results(cells: Sequence[Cell], metric: str, work_dir: Path) -> str:
    """Write tables and a plot into a folder; returns what is worth printing.

    ``results.csv`` and ``.md`` have a row for each name, ``corruptions.csv`` one for each
    corruption, ``cells.csv`` one for each checkpoint and condition with all metrics.
    """
    rows, corruptions = summarize(cells, metric), by_corruption(cells, metric)
    note = (
        f'{metric}; corrupted: mean over severities and corruptions; relative: corrupted / clean '
        f'in percent; CE: corruption error in percent of that of {rows[0]["name"]}; sd: over seeds.'
    )
    report.write_rows(work_dir, rows, f'{note}\n\n{markdown_table(corruptions, "{:.4g}")}')
    write_csv(work_dir / 'corruptions.csv', corruptions)
    names = dict.fromkeys(name for cell in cells for name in cell.metrics)
    write_csv(
        work_dir / 'cells.csv',
        [
            dict(
                **cell.checkpoint._asdict(),
                **cell.condition._asdict(),
                **{name: cell.metrics.get(name) for name in names},
            )
            for cell in cells
        ],
    )
    if any(cell.condition.corruption for cell in cells):
        points = by_severity(cells, metric)
        plot = work_dir / 'results.png'
        report.plot_columns(plot, points, 'severity', 'mean', 'sd', 'name', metric)
    tables = [report.text_table(corruptions), report.text_table(rows)]
    values: dict[str, list[float]] = {}
    for row in per_checkpoint(cells, metric):
        if row['corrupted'] is not None:
            values.setdefault(row['name'], []).append(row['corrupted'])
    sentences = [f'Under corruption, {text}' for text in compare_names(values)] if values else []
    return '\n\n'.join([*tables, note, *sentences])


def compare_names(values: Mapping[str, Sequence[float]]) -> list[str]:
    """How each name differs from the first, in a sentence: by pairs of checkpoints, in their order.

    Args:
        values: A metric of each checkpoint, by name.
    """
    found, baseline = [], next(iter(values))
    outcomes = [
        Outcome(Trial(name, '', '', seed), Path(), value)
        for name, own in values.items()
        for seed, value in enumerate(own)
    ]
    for name in list(values)[1:]:
        paired = report.pair(outcomes, name, baseline)
        if paired is None:
            continue
        where = 'above' if paired.difference > 0 else 'below'
        text = f'{name}: {abs(paired.difference):.3g} {where} {baseline}'
        if paired.low is None or paired.high is None:
            text += ', from one pair of checkpoints: nothing is known of the spread.'
        else:
            text += f' (95% interval {paired.low:.3g} to {paired.high:.3g}, {paired.pairs} pairs)'
            text += ': no difference is shown.' if paired.low <= 0 <= paired.high else '.'
        found.append(text)
    return found


def draw_corruptions(
    path: Path, evaluation: Evaluation, wanted: Sequence[Condition], seed: int = 0
) -> None:
    """Draw the first image under each condition: a row for each corruption."""
    severities = sorted({condition.severity for condition in wanted} - {0})
    rows: list[list[Any]] = []
    captions = ['clean', *map(str, severities)]
    for corruption in dict.fromkeys(x.corruption for x in wanted if x.corruption):
        arguments = [None, *(_arguments(Condition(corruption, s), seed) for s in severities)]
        rows.append([_enlarged(evaluation.image(a)) for a in arguments])
    if rows:
        names = ', '.join(dict.fromkeys(x.corruption for x in wanted if x.corruption))
        path.parent.mkdir(parents=True, exist_ok=True)
        compose(rows, captions, f'From top to bottom: {names}.').save(path)


def _arguments(condition: Condition, seed: int) -> dict | None:
    return dict(condition._asdict(), seed=seed) if condition.corruption else None


def _counted(names: Iterable[str]) -> list[str]:
    """The common corruptions among some; all, if there is none."""
    names = list(names)
    return [name for name in names if name in COMMON_CORRUPTIONS] or names


def _means(values: Mapping[Condition, float]) -> dict[str, float]:
    """Mean over severities of each corruption."""
    found: dict[str, list[float]] = {}
    for condition, value in values.items():
        found.setdefault(condition.corruption, []).append(value)
    return {name: mean(own) for name, own in found.items()}


def _errors(cells: Sequence[Cell], name: str, metric: str) -> dict[str, float]:
    """Mean distance to a perfect model, by corruption, over severities and checkpoints."""
    found: dict[str, list[float]] = {}
    for checkpoint, condition, metrics in cells:
        if checkpoint.name == name and condition.corruption:
            error = abs(best_value(metric) - metrics[metric])
            found.setdefault(condition.corruption, []).append(error)
    return {corruption: mean(errors) for corruption, errors in found.items()}


def _check_finite(metrics: dict, checkpoint: Checkpoint, condition: Condition) -> None:
    name = next((name for name in DEFAULT_METRICS if name in metrics), None)
    if name and not isfinite(metrics[name]):
        raise DataError(f'{checkpoint.path}: {name} is {metrics[name]} on {condition} images')
    if name and is_unscored(name, metrics[name]):
        raise DataError(f'{checkpoint.path}: {name} is -1: the images have no object to score')


def _read_cells(path: Path) -> dict[str, dict[str, float]]:
    """Finished cells by their key; a line that was not written to its end is left out."""
    found = {}
    for line in path.read_text().splitlines() if path.is_file() else ():
        with suppress(ValueError):
            cell = json.loads(line)
            found[cell['key']] = cell['metrics']
    return found


def _append(path: Path, cell: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with named_failures(path), path.open('a') as file:
        file.write(f'\n{json.dumps(cell)}')


def _enlarged(image: np.ndarray) -> np.ndarray:
    """For looking at: three channels, at least 96 and at most 160 pixels on the longer side."""
    factor = max(1, 96 // max(image.shape[:2]))
    rgb = np.broadcast_to(image, (*image.shape[:2], 3))
    return shrink(rgb.repeat(factor, 0).repeat(factor, 1), 160)
