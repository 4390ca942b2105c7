"""Shape bias of classifiers: what they are measured on, and tables and a plot over seeds."""

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path

from mmengine.config import Config

from simmim_mm.datasets.image_dataset import single_datasets
from simmim_mm.evaluation.shape_bias import category_classes, find_stimuli
from simmim_mm.experiments import report
from simmim_mm.experiments.evaluation import StoredModel, class_names, write_list
from simmim_mm.experiments.report import mean_and_sd
from simmim_mm.experiments.robustness import Cell, compare_names
from simmim_mm.experiments.tables import markdown_table, write_csv

METRIC = 'shape_bias/bias'
_DECIDED = 'shape_bias/decided'


def use_stimuli(
    cfg: Config,
    model: StoredModel,
    data: Path,
    work_dir: Path,
    given: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Validate a classifier on cue-conflict images; ``given`` as for :func:`category_classes`."""
    number = cfg.model.head.num_classes
    categories = category_classes(number, class_names(model.classes, number), given)
    images = find_stimuli(data, list(categories))
    dataset = next(part for _, part in single_datasets(cfg.val_dataloader.dataset))
    cfg.val_dataloader.dataset = dict(
        type='mmpretrain.CustomDataset',
        ann_file=str(write_list(images, data, work_dir)),
        data_prefix=str(data),
        with_label=False,
        pipeline=dataset.pipeline,
    )
    cfg.val_evaluator = dict(type='simmim_mm.ShapeBias', categories=categories)


def summarize(cells: Sequence[Cell]) -> list[dict]:
    """A row for each name: shape bias and decided images in percent, deviation over checkpoints."""
    rows = []
    for name in dict.fromkeys(cell.checkpoint.name for cell in cells):
        own = [cell.metrics for cell in cells if cell.checkpoint.name == name]
        bias = mean_and_sd([x[METRIC] for x in own if isfinite(x[METRIC])])
        decided = mean_and_sd([x[_DECIDED] for x in own])
        rows.append(
            {
                'name': name,
                'seeds': len(own),
                'images': sum(_count(own[0], category) for category in _categories(own)),
                'shape bias': bias['mean'],
                'sd': bias['sd'],
                'decided': decided['mean'],
                'sd decided': decided['sd'],
            }
        )
    return rows


def by_category(cells: Sequence[Cell]) -> list[dict]:
    """A row for each category of shapes: the bias of each name, of all its checkpoints' decisions.

    Beside it the number of decisions for shape or texture that it is from.
    """
    names = dict.fromkeys(cell.checkpoint.name for cell in cells)
    rows = []
    for category in _categories([cell.metrics for cell in cells]):
        row: dict = dict(category=category)
        for name in names:
            own = [cell.metrics for cell in cells if cell.checkpoint.name == name]
            shape, texture = (
                sum(x.get(f'shape_bias/{category}/{kind}', 0) for x in own)
                for kind in ('shape', 'texture')
            )
            number = int(shape + texture)
            row.update({name: 100 * shape / number if number else None, f'n {name}': number})
        rows.append(row)
    return rows


def write_results(cells: Sequence[Cell], work_dir: Path) -> str:
    """Write ``results.csv``, ``categories.csv`` and ``shape_bias.png``; returns the tables."""
    rows, categories = summarize(cells), by_category(cells)
    note = (
        'shape bias: decisions for the shape in percent of those for shape or texture; decided: '
        'these in percent of the images; sd: over seeds.'
    )
    report.write_rows(work_dir, rows, f'{note}\n\n{markdown_table(categories, "{:.4g}")}')
    write_csv(work_dir / 'categories.csv', categories)
    plot(work_dir / 'shape_bias.png', rows, categories)
    values: dict[str, list[float]] = {}
    for cell in cells:
        values.setdefault(cell.checkpoint.name, []).append(cell.metrics[METRIC])
    known = {name: own for name, own in values.items() if all(map(isfinite, own))}
    sentences = [f'Shape bias, {text}' for text in compare_names(known)] if known else []
    return '\n\n'.join([report.text_table(categories), report.text_table(rows), note, *sentences])


def plot(path: Path, rows: Sequence[dict], categories: Sequence[dict]) -> None:
    """The bias of each category as a dot, and the mean over seeds as a line; a color for a name."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 1.5 + 0.3 * len(categories)), layout='constrained')
    axes = figure.subplots()
    for k, row in enumerate(rows):
        name, offset = row['name'], 0.12 * (k - (len(rows) - 1) / 2)
        known = [(x[name], y + offset) for y, x in enumerate(categories) if x[name] is not None]
        axes.plot(*zip(*known), 'o', color=f'C{k}', alpha=0.8, label=name)
        if row['shape bias'] is not None:
            axes.axvline(row['shape bias'], color=f'C{k}', lw=1.5)
            if row['sd']:
                low, high = row['shape bias'] - row['sd'], row['shape bias'] + row['sd']
                axes.axvspan(low, high, color=f'C{k}', alpha=0.12)
    axes.set_yticks(range(len(categories)), [row['category'] for row in categories])
    axes.set(xlim=(-2, 102), ylim=(len(categories) - 0.5, -0.5))
    axes.set_xlabel('shape bias, percent (dots: shape categories; line: mean and deviation)')
    axes.grid(axis='x', alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)


def _categories(metrics: Sequence[dict]) -> list[str]:
    names = (name.split('/') for x in metrics for name in x)
    return sorted({parts[1] for parts in names if len(parts) == 3})


def _count(metrics: dict, category: str) -> int:
    kinds = ('shape', 'texture', 'other')
    return int(sum(metrics.get(f'shape_bias/{category}/{kind}', 0) for kind in kinds))
