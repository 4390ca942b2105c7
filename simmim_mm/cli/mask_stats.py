"""AvgDist, SimMIM's measure of how hard masks are: ``simmim mask-stats [CONFIG]``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simmim_mm.cli.common import add_cfg_options, add_transforms, load_config, merge_options

HELP = 'measure the AvgDist of masks'
DESCRIPTION = """
Mean distance in pixels from masked tokens to the nearest visible one (AvgDist in SimMIM, where 10
to 20 was found good): of random blocks of several sizes and ratios, of the masks of --mask, or of
the masks of a config.
"""

RATIOS = [i / 10 for i in range(1, 10)]
UNITS = (4, 8, 16, 32, 64)
GOOD = (10, 20)  # pixels; SimMIM, appendix C.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', nargs='?', help='a training config, whose mask is measured')
    parser.add_argument(
        '--data',
        action='store_true',
        help='with a config: load its training images and measure the masks that they get, as '
        'SemanticMask needs it',
    )
    add_cfg_options(parser)
    text = 'a mask transform such as "SquareMask(mask_patch_size=32, mask_ratio=0.25)"'
    add_transforms(parser, '--mask', f'{text}; may be repeated')
    parser.add_argument(
        '--ratios', nargs='+', type=float, help='measure each --mask at these mask ratios'
    )
    parser.add_argument(
        '--size', nargs='+', type=int, help='side, or height and width, of the images (192)'
    )
    parser.add_argument('--draws', type=int, default=500, help='masks, or images, of each')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out-dir', help='writes mask_avg_dist.csv and .png there')


def measure_config(args: argparse.Namespace) -> list[dict]:
    from mmengine.registry import init_default_scope

    from simmim_mm.datasets.evaluation_pipeline import evaluation_pipeline
    from simmim_mm.evaluation.mask_difficulty import measure_masks, on_tokens, token_stride
    from simmim_mm.registry import DATASETS

    cfg = load_config(args.config)
    merge_options(cfg, args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'simmim_mm'))
    step = next(s for s in evaluation_pipeline(cfg) if 'Mask' in s['type'])
    name = Path(args.config).stem
    stride = token_stride(cfg.get('model') or {})
    if not args.data:
        if step['type'].endswith('SemanticMask'):
            raise ValueError('SemanticMask looks at the images: add --data')
        size = args.size or cfg.get('img_size') or 192
        return [measure(name, dict(step), size, args, stride)]

    import numpy as np

    from simmim_mm.datasets import SeededIndex, sample_seed

    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    indices = np.random.default_rng(args.seed).permutation(len(dataset))[: args.draws].tolist()
    samples = (dataset[SeededIndex(i, sample_seed(args.seed, 0, i))] for i in indices)
    pairs = (
        (on_tokens(s['data_samples'].mask, s['inputs'].shape[-2:], stride), stride) for s in samples
    )
    return [dict(mask=name, ratio=step.get('mask_ratio'), **measure_masks(pairs))]


def measure(
    name: str, step: dict, size: int | Sequence[int], args: argparse.Namespace, token_stride: int
) -> dict:
    from simmim_mm.evaluation.mask_difficulty import measure_generator
    from simmim_mm.registry import TRANSFORMS

    generator = TRANSFORMS.build(step)
    size = [size] if isinstance(size, int) else list(size)
    stats = measure_generator(generator, (size[0], size[-1]), args.draws, args.seed, token_stride)
    return dict(mask=name, ratio=generator.mask_ratio, **stats)


def measure_masks_of(args: argparse.Namespace) -> list[dict]:
    from mmengine.registry import init_default_scope

    init_default_scope('simmim_mm')
    masks = args.mask or [
        (f'random {unit} px', [dict(type='RandomBlockMask', mask_patch_size=unit)])
        for unit in UNITS
    ]
    ratios = args.ratios or ([None] if args.mask else RATIOS)
    rows = []
    for name, (step, *others) in masks:
        if others:
            raise ValueError(f'--mask takes one transform, got {name!r}')
        for ratio in ratios:
            changed = step if ratio is None else dict(step, mask_ratio=ratio)
            try:
                stride: Any = step.get('token_stride', 4)  # of version 0.1
                rows.append(measure(name, changed, args.size or 192, args, stride))
            except ValueError as error:  # no such mask: all blocks, or a square too large
                if ratio is None:
                    raise
                print(f'{name} at {ratio:g}: {error}', file=sys.stderr)
    if not rows:
        raise ValueError('no mask could be drawn')
    return rows


def plot(path: Path, rows: list[dict]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout='constrained')
    axes = figure.subplots()
    axes.axhspan(*GOOD, color='0.92', label='good, says SimMIM')
    for name in dict.fromkeys(row['mask'] for row in rows):
        of_mask = [row for row in rows if row['mask'] == name]
        x, y, std = ([row[key] for row in of_mask] for key in ('masked', 'avg_dist', 'std'))
        axes.errorbar(x, y, std, capsize=3, marker='o', ms=4, label=name)
    axes.set(xlabel='masked', ylabel='AvgDist, pixels (bars: from mask to mask)')
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def run(args: argparse.Namespace) -> None:
    from simmim_mm.experiments.tables import markdown_table, write_csv

    if args.config and (args.mask or args.ratios):
        raise ValueError('give a config, or --mask and --ratios')
    if args.data and not args.config:
        raise ValueError('--data needs a config')
    if args.draws < 1 or (args.size and len(args.size) > 2):
        raise ValueError('--draws must be 1 or more, --size one or two numbers')
    rows = measure_config(args) if args.config else measure_masks_of(args)
    print(markdown_table(rows))
    if args.out_dir:
        out = Path(args.out_dir)
        write_csv(out / 'mask_avg_dist.csv', rows)
        plot(out / 'mask_avg_dist.png', rows)
        print(f'\nwrote {out}/mask_avg_dist.csv and mask_avg_dist.png')
