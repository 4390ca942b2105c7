"""How much of each object random crops keep: ``simmim coverage COCO_JSON``."""

import argparse
import textwrap
from pathlib import Path
from typing import Any

from simmim_mm.cli.common import add_transforms

HELP = 'measure how much of each object random crops keep'
DESCRIPTION = """
Fraction of the objects that crops keep, and that stays visible under a mask.
"""

# What the PixMIM paper says of ImageNet boxes: fraction kept, and visible under a 75% mask.
QUOTED = {'RandomResizedCrop (.2, 1)': (0.683, 0.171), 'SimpleResizedCrop': (None, 0.221)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('annotations', nargs='+', help='COCO json files; the images are not read')
    parser.add_argument('--size', type=int, default=224, help='side of the crops in pixels')
    parser.add_argument('--mask-ratio', type=float, default=0.75, help='fraction that is masked')
    parser.add_argument('--draws', type=int, default=50, help='random crops of each image')
    parser.add_argument('--seed', type=int, default=0)
    text = (
        'another crop to measure, as one or more registered transforms, for example '
        '"RandomResizedCrop(scale=224, crop_ratio_range=(0.4, 1)), RandomBlockMask()"; a mask '
        'transform among them takes the place of --mask-ratio; may be repeated'
    )
    add_transforms(parser, '--crop', text, default=[], metavar='TRANSFORMS')
    parser.add_argument(
        '--out-dir', help='writes coverage.csv, coverage_objects.csv and .png there'
    )


def standard_crops(size: int) -> dict[str, list[dict]]:
    def resized_crop(low: float) -> dict:
        return dict(type='RandomResizedCrop', scale=size, crop_ratio_range=(low, 1.0))

    return {
        'RandomResizedCrop (.2, 1)': [resized_crop(0.2)],
        'RandomResizedCrop (.67, 1)': [resized_crop(0.67)],
        'SimpleResizedCrop': [dict(type='SimpleResizedCrop', size=size)],
        'CenterCrop': [
            dict(type='ResizeToCover', size=size),
            dict(type='mmpretrain.CenterCrop', crop_size=size),
        ],
    }


def measure(args: argparse.Namespace) -> dict[str, Any]:
    from mmengine.dataset import Compose
    from mmengine.registry import init_default_scope

    from simmim_mm.evaluation.coverage import object_coverage, read_objects
    from simmim_mm.registry import TRANSFORMS

    init_default_scope('simmim_mm')
    objects = [one for path in args.annotations for one in read_objects(path)]
    print(f'{sum(len(one.boxes) for one in objects)} objects in {len(objects)} images')
    crops = standard_crops(args.size)
    crops.update(args.crop)
    coverages = {}
    for name, steps in crops.items():
        pipeline = Compose([TRANSFORMS.build(step) for step in steps])
        coverages[name] = object_coverage(objects, pipeline, args.mask_ratio, args.draws, args.seed)
    return coverages


def summary(coverages: dict[str, Any]) -> list[dict]:
    rows = []
    for name, coverage in coverages.items():
        row = dict(crop=name)
        for per in ('object', 'image', 'largest'):
            for what in ('kept', 'visible'):
                row[f'{what} per {per}'] = coverage.mean(what, per)
        row['quoted kept'], row['quoted visible'] = QUOTED.get(name, (None, None))
        rows.append(row)
    return rows


def write_files(out: Path, rows: list[dict], coverages: dict[str, Any]) -> None:
    from simmim_mm.experiments.tables import write_csv

    write_csv(out / 'coverage.csv', rows)
    columns = ('image', 'area', 'kept', 'visible')
    objects = [
        dict(crop=name, **dict(zip(columns, values)))
        for name, c in coverages.items()
        for values in zip(*(getattr(c, column) for column in columns))
    ]
    write_csv(out / 'coverage_objects.csv', objects)
    plot(out / 'coverage.png', rows, coverages)


def plot(path: Path, rows: list[dict], coverages: dict[str, Any]) -> None:
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.5), layout='constrained')
    left, right = figure.subplots(1, 2)
    names = [textwrap.fill(row['crop'], 26) for row in rows]
    for y, row in enumerate(rows):
        for what, color in (('kept', 'tab:blue'), ('visible', 'tab:orange')):
            left.barh(y, 100 * row[f'{what} per object'], color=color, label=what)
            if row[f'quoted {what}'] is not None:
                left.plot(100 * row[f'quoted {what}'], y, 'k|', ms=28, label='quoted by PixMIM')
    left.set_yticks(range(len(rows)), names, fontsize=8)
    left.invert_yaxis()
    left.set_xlabel('part of the object, % (mean over objects)')
    handles, labels = left.get_legend_handles_labels()
    unique = dict(zip(labels, handles))
    style = dict(fontsize=8, markerscale=0.4)
    figure.legend(unique.values(), unique.keys(), loc='outside upper left', ncols=3, **style)
    for name, coverage in zip(names, coverages.values()):
        kept = np.sort(coverage.kept)
        right.plot(100 * kept, 100 * np.linspace(1, 0, len(kept)), label=name)
    right.set(xlabel='kept on average, %', ylabel='objects of which at least that is kept, %')
    right.legend(fontsize=8, loc='lower left')
    figure.savefig(path, dpi=120)


def run(args: argparse.Namespace) -> None:
    for path in args.annotations:
        if not Path(path).is_file():
            raise FileNotFoundError(f'no annotation file {path}')
    coverages = measure(args)

    from simmim_mm.experiments.tables import markdown_table

    rows = summary(coverages)
    print(f'fractions, mask ratio {args.mask_ratio:g}\n\n{markdown_table(rows, "{:.1%}")}\n')
    print('quoted: PixMIM (arXiv 2303.02416), ImageNet, mask ratio 0.75')
    if args.out_dir:
        write_files(Path(args.out_dir), rows, coverages)
        print(f'wrote {args.out_dir}/coverage.csv, coverage_objects.csv, coverage.png')
