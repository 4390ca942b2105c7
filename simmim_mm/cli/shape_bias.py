"""Shape or texture: ``simmim shape-bias [NAME=]CHECKPOINT ... STIMULI``."""

import argparse
from functools import partial
from pathlib import Path

from simmim_mm.cli.common import load_config, say
from simmim_mm.cli.robustness import add_measured, split_data

HELP = 'measure whether classifiers go by shape or by texture'
DESCRIPTION = """
Show classifiers images that have the shape of one category and the texture of another (Geirhos et
al., arXiv 1811.12231; the style-transfer stimuli of github.com/rgeirhos/texture-vs-shape), and
count which of the two they decide for. Checkpoints of one NAME differ by their seed. A classifier
needs at least two of the 16 categories, among which it then decides: those of ImageNet, CIFAR-10,
and of classes that are called so.
"""
CONTINUES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_measured(parser, 'the folder of the stimuli')
    parser.add_argument(
        '--categories',
        nargs='+',
        default=[],
        metavar='CATEGORY=CLASS[,CLASS]',
        help='classes of the model that are a category, where they have another name',
    )
    parser.add_argument('--work-dir', default='work_dirs/shape_bias', help='(%(default)s)')


def run(args: argparse.Namespace) -> None:
    from simmim_mm.experiments import robustness, shape_bias
    from simmim_mm.experiments.evaluation import ModelEvaluation, Options, read_groups

    given = {}
    for text in args.categories:
        category, equals, classes = text.partition('=')
        if not equals:
            raise ValueError(f'--categories {text!r} is not like car=automobile')
        given[category] = classes.split(',')
    paths, data = split_data(args)
    if data is None:
        raise ValueError('give a folder of stimuli behind the checkpoints')
    config = load_config(args.config) if args.config else None
    options = Options(data, args.limit, args.amp, settings=args.cfg_options)
    work_dir = Path(args.work_dir)
    use = partial(shape_bias.use_stimuli, given=given)
    cells = robustness.measure(
        read_groups(paths),
        lambda checkpoint: ModelEvaluation(checkpoint, config, options, work_dir, use),
        [robustness.Condition()],
        work_dir,
        say,
        metric=shape_bias.METRIC,
    )
    say(f'\n{shape_bias.write_results(cells, work_dir)}\n\nwrote results to {work_dir}')
