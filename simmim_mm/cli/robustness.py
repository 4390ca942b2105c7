"""Accuracy under corruption: ``simmim robustness [NAME=]CHECKPOINT ... [DATA]``."""

import argparse
from pathlib import Path

from simmim_mm.cli.common import add_cfg_options, load_config, say

HELP = 'measure models on corrupted images, by corruption and severity'
DESCRIPTION = """
Measure classifiers, detectors and segmenters on clean images and under the corruptions of
ImageNet-C; of a pretraining, the error of held-out reconstructions, or with --probe knn the
accuracy of nearest neighbors. Checkpoints of one NAME differ by their seed: the tables have their
mean and standard deviation. The same command continues where it was interrupted.

layouts of the folder DATA (without it: the validation data of the config)
  classification  DATA/CLASS/*.jpg or DATA/val/CLASS/*.jpg; some of the classes will do, such as
                  the 200 of ImageNet-A: the others can then not be predicted
  detection, segmentation
                  as for simmim compare
  pretraining     a folder of images; with --probe knn DATA/{train,val}/CLASS/*.jpg

groups of corruptions
  noise, blur, weather, digital (together: common), extra, all; none: clean images alone
"""
CONTINUES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_measured(parser)
    parser.add_argument(
        '--corruptions',
        nargs='+',
        default=['common'],
        metavar='NAME',
        help='corruptions or groups of them (default: common, the 15 of ImageNet-C)',
    )
    parser.add_argument(
        '--severities', type=int, nargs='+', default=[1, 2, 3, 4, 5], metavar='N', help='1 to 5'
    )
    parser.add_argument('--metric', help='metric to summarize (accuracy/top1, coco/bbox_mAP, ...)')
    parser.add_argument('--probe', choices=['knn'], help='measure a pretrained backbone by it')
    parser.add_argument('--seed', type=int, default=0, help='of noise and masks (%(default)s)')
    parser.add_argument('--work-dir', default='work_dirs/robustness', help='(%(default)s)')


def add_measured(parser: argparse.ArgumentParser, data: str = 'DATA, if it is given') -> None:
    """Add what says which models are measured, and on what."""
    text = f'checkpoints, as FILE or NAME=FILE, and behind them {data}'
    parser.add_argument('checkpoints', nargs='+', metavar='CHECKPOINT', help=text)
    parser.add_argument('--config', help='config file, for checkpoints without their own')
    parser.add_argument('--limit', type=int, metavar='N', help='take N images, spread over all')
    parser.add_argument('--amp', action='store_true', help='measure in mixed precision')
    add_cfg_options(parser)


def split_data(args: argparse.Namespace) -> tuple[list[str], str | None]:
    """Checkpoints, and the folder behind them if there is one."""
    *checkpoints, last = args.checkpoints
    if not Path(last).is_dir():
        return args.checkpoints, None
    if not checkpoints:
        raise ValueError(f'{last} is a folder of data: give checkpoints before it')
    return checkpoints, last


def run(args: argparse.Namespace) -> None:
    from simmim_mm.datasets.transforms.corrupt import Corrupt, parse_corruptions
    from simmim_mm.experiments import robustness
    from simmim_mm.experiments.evaluation import (
        KnnEvaluation,
        ModelEvaluation,
        Options,
        read_groups,
    )

    if args.limit is not None and args.limit < 1:
        raise ValueError(f'--limit must be at least 1, got {args.limit}')
    names = [] if args.corruptions == ['none'] else parse_corruptions(args.corruptions)
    wanted = robustness.conditions(names, sorted(set(args.severities)))
    for corruption, severity in wanted[1:]:
        Corrupt(corruption, severity)  # it exists, and can be drawn
    paths, data = split_data(args)
    checkpoints = read_groups(paths)
    config = load_config(args.config) if args.config else None
    options = Options(data, args.limit, args.amp, args.seed, args.cfg_options)
    work_dir = Path(args.work_dir)

    def open_evaluation(checkpoint):
        if args.probe == 'knn':
            return KnnEvaluation(checkpoint, config, options)
        return ModelEvaluation(checkpoint, config, options, work_dir)

    say(f'{len(checkpoints)} checkpoints, each on clean images and {len(wanted) - 1} corruptions')
    cells = robustness.measure(
        checkpoints, open_evaluation, wanted, work_dir, say, args.seed, args.metric
    )
    metric = robustness.choose_metric(cells[0].metrics, args.metric)
    results = robustness.write_results(cells, metric, work_dir)
    say(f'\n{results}\n\nwrote results and corruptions.png to {work_dir}')
