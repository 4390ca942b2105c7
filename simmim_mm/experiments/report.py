"""Mean and spread over seeds: as rows, text, and plots."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

from simmim_mm.experiments.tables import markdown_table, write_csv
from simmim_mm.experiments.trial import Outcome

_MINUTE = 60.0  # seconds from one line of progress to the next


def duration(seconds: float) -> str:
    """Two digits of a time, such as ``'3 h 20 min'``."""
    if seconds < 90:
        return f'{seconds:.0f} s'
    minutes = round(seconds / 60)
    return f'{minutes} min' if minutes < 90 else f'{minutes // 60} h {minutes % 60:02} min'


def left_each_minute() -> Callable[[float, float], str]:
    """For lines of progress: what is called with what is done, and all of it, gives the time left.

    It gives nothing until a minute has passed, since the start or since it last gave something.
    """
    start = said = time.monotonic()

    def left(done: float, total: float) -> str:
        nonlocal said
        now = time.monotonic()
        if now - said < _MINUTE:
            return ''
        said = now
        return duration((total - done) * (now - start) / done)

    return left


def mean_and_sd(values: Sequence[float]) -> dict[str, float | None]:
    """``mean``, and ``sd`` of a sample; None of fewer than one and two values."""
    sd = stdev(values) if len(values) > 1 else None
    return dict(mean=mean(values) if values else None, sd=sd)


def summarize(outcomes: Sequence[Outcome]) -> dict[str, dict]:
    """Mean over the seeds of each name, in the order in which the names come.

    Returns:
        By name, a row of ``seeds`` (that finished), ``mean``, ``sd`` (standard deviation of a
        sample, divided by n - 1; None for a single seed) and ``minutes`` (mean of one training).
        A name of which every trial failed has neither mean nor time.
    """
    rows: dict[str, dict] = {}
    for name in dict.fromkeys(outcome.trial.name for outcome in outcomes):
        done = [x for x in outcomes if x.trial.name == name and x.error is None]
        values = [outcome.value for outcome in done if outcome.value is not None]
        rows[name] = dict(
            seeds=len(done),
            **mean_and_sd(values),
            minutes=mean(outcome.seconds for outcome in done) / 60 if done else None,
        )
    return rows


class Paired(NamedTuple):
    """A difference between two names over the seeds that both have.

    Attributes:
        difference: Its mean.
        pairs: Number of seeds.
        low: Lower end of the 95% interval of Student's t; None for a single seed.
        high: Upper end.
        level: Mean of the second name.
    """

    difference: float
    pairs: int
    low: float | None
    high: float | None
    level: float


def pair(outcomes: Sequence[Outcome], name: str, baseline: str) -> Paired | None:
    """How much better ``name`` is than ``baseline``, seed by seed; None without a common seed.

    Trainings with one seed see the same images in the same order, so that the difference of two
    varies less than either does.
    """
    own, other = (
        {x.trial.seed: x.value for x in outcomes if x.trial.name == n and x.value is not None}
        for n in (name, baseline)
    )
    common = [seed for seed in own if seed in other]
    if not common:
        return None
    differences = [own[seed] - other[seed] for seed in common]
    middle, count = mean(differences), len(common)
    level = mean(other[seed] for seed in common)
    if count == 1:
        return Paired(middle, 1, None, None, level)
    from scipy.stats import t

    half = float(t.ppf(0.975, count - 1)) * stdev(differences) / count**0.5
    return Paired(middle, count, middle - half, middle + half, level)


def verdict(found: Paired | None, name: str, baseline: str = 'from scratch') -> str:
    """One sentence on a difference: it is shown where its 95% interval leaves out zero."""
    if found is None:
        return f'{name}: nothing to compare, trials failed.'
    difference, low, high = found.difference, found.low, found.high
    if difference == found.level == 0:
        return (
            f'{name} and {baseline}: nothing was learned, both are 0; train longer, or look at the '
            'log and the labels.'
        )
    better = 'better' if difference > 0 else 'worse'
    text = f'{name}: {abs(difference):.3g} {better} than {baseline}'
    if low is None or high is None:
        if difference == 0:
            text = f'{name}: as good as {baseline}'
        return f'{text}, from one seed: nothing is known of the spread; take --seeds 3 or more.'
    if difference == 0 and low == high:
        return f'{name}: exactly as good as {baseline}.'
    interval = f'95% interval {low:.3g} to {high:.3g}, {found.pairs} seeds'
    if low <= 0 <= high:
        more = '; take --seeds 3 or more' if found.pairs < 3 else ''
        return f'{text} ({interval}): no difference is shown{more}.'
    return f'{text} ({interval}).'


def text_table(rows: Sequence[dict], number: str = '{:.4g}') -> str:
    """Rows of equal keys in aligned columns; ``None`` is a dash."""

    def cell(value: str | float | None) -> str:
        if value is None:
            return '-'
        return number.format(value) if isinstance(value, float) else str(value)

    lines = [list(rows[0]), *([cell(value) for value in row.values()] for row in rows)]
    columns = []
    for key, column in zip(rows[0], zip(*lines)):
        to_left = all(isinstance(row[key], str) for row in rows)
        width = max(map(len, column))
        columns.append([text.ljust(width) if to_left else text.rjust(width) for text in column])
    return '\n'.join('  '.join(line).rstrip() for line in zip(*columns))


def write_rows(folder: str | Path, rows: Sequence[dict], note: str = '') -> None:
    """Write ``results.csv`` and ``results.md``, the latter with a note below the table."""
    from simmim_mm.checkpoint.file_backend import remove_stale_files, write_lines  # imports torch

    folder = Path(folder)
    remove_stale_files(folder)
    write_csv(folder / 'results.csv', rows)
    text = markdown_table(rows, '{:.4g}')
    write_lines([text, '', note] if note else [text], folder / 'results.md')


def trial_rows(outcomes: Sequence[Outcome]) -> list[dict]:
    """A row for every trial, with all results of its last validation."""
    names = dict.fromkeys(name for outcome in outcomes for name in outcome.scalars or {})
    return [
        dict(
            name=outcome.trial.name,
            seed=outcome.trial.seed,
            seconds=round(outcome.seconds, 1),
            **{name: outcome.scalars.get(name) for name in names},
            failed=outcome.error is not None,
            folder=str(outcome.work_dir),
        )
        for outcome in outcomes
    ]


def plot_starts(path: str | Path, outcomes: Sequence[Outcome]) -> None:
    """Draw a line for each name: its seeds as dots, mean and standard deviation as a bar."""
    from matplotlib.figure import Figure

    rows = {name: row for name, row in summarize(outcomes).items() if row['seeds']}
    figure = Figure(figsize=(7, 1.2 + 0.5 * len(rows)), layout='constrained')
    axes = figure.subplots()
    for y, (name, row) in enumerate(rows.items()):
        values = [x.value for x in outcomes if x.trial.name == name and x.value is not None]
        axes.errorbar(row['mean'], y, xerr=row['sd'] or 0, fmt='|', color='C0', ms=16, capsize=4)
        axes.plot(values, [y] * len(values), 'o', color='C1', alpha=0.7)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel(f'{outcomes[0].trial.metric} (dots: seeds; bar: mean and standard deviation)')
    axes.grid(axis='x', alpha=0.3)
    figure.savefig(path, dpi=150)


def plot_columns(
    path: str | Path,
    rows: Sequence[dict],
    x: str,
    y: str,
    error: str,
    group: str | None = None,
    label: str = '',
    x_label: str = '',
    scale: str = 'linear',
) -> None:
    """Plot one column of a table against another.

    Args:
        rows: Of equal keys; those without a number in ``x`` or ``y`` are left out.
        x: Column on the horizontal axis; text is spread evenly.
        y: Column on the vertical axis.
        error: Column with the length of the error bars.
        group: Column whose values become lines of their own.
        label: Title of the vertical axis.
        x_label: Title of the horizontal axis.
        scale: Of the horizontal axis, ``'linear'`` or ``'log'``; the latter is marked at the values
            of its column.
    """
    from matplotlib.figure import Figure

    rows = [row for row in rows if row[x] is not None and row[y] is not None]
    if all(isinstance(row[x], (int, float)) for row in rows):
        rows = sorted(rows, key=lambda row: row[x])
    else:
        rows = [{**row, x: str(row[x])} for row in rows]
    figure = Figure(figsize=(7, 4.5), layout='constrained')
    axes = figure.subplots()
    for value in dict.fromkeys(row[group] if group else None for row in rows):
        own = [row for row in rows if not group or row[group] == value]
        points = ([row[key] for row in own] for key in (x, y))
        spread = [row[error] or 0 for row in own]
        name = value if group == 'start' else f'{group} {value}' if group else None
        axes.errorbar(*points, yerr=spread, marker='o', capsize=3, label=name)
    axes.set(xlabel=x_label or x, ylabel=label or y, xscale=scale)
    if scale == 'log':
        marks = sorted({row[x] for row in rows})
        axes.set_xticks(marks, [f'{mark:g}' for mark in marks])
        axes.minorticks_off()
    axes.grid(alpha=0.3)
    if group:
        axes.legend()
    figure.savefig(path, dpi=150)
