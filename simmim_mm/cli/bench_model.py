"""What models cost and are worth: ``simmim bench-model dense=A.pth pruned=B.pth int8=C.xml``."""

import argparse
from pathlib import Path

from simmim_mm.cli.common import say

HELP = 'compare models: parameters, operations, latency, memory, size, metric'
DESCRIPTION = """
Measure models on the CPU of this machine, side by side: backbones, classifiers and segmenters as
checkpoints, configs (with initial weights) or exported files of ONNX and OpenVINO. Latencies are
taken in turns.
"""


def _value(text: str) -> tuple[str, float]:
    name, _, number = text.rpartition('=')
    try:
        return name, float(number)
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is not like NAME=NUMBER') from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'models', nargs='+', metavar='[NAME=]MODEL', help='.pth, .onnx or .xml file, or a config'
    )
    metric = parser.add_mutually_exclusive_group()
    metric.add_argument(
        '--data',
        metavar='FOLDER',
        help='labeled images, a folder for each class: accuracy of a classifier, or of nearest '
        'neighbors among the features of a backbone; of a segmenter, images',
    )
    metric.add_argument(
        '--values', nargs='+', type=_value, metavar='NAME=NUMBER', help='metrics from elsewhere'
    )
    text = 'segmentation maps of the images of --data'
    parser.add_argument('--maps', metavar='FOLDER', help=text)
    text = 'what --values are called (%(default)s)'
    parser.add_argument('--metric', default='metric', metavar='NAME', help=text)
    parser.add_argument(
        '--batch-sizes', type=int, nargs='+', default=[1, 8], metavar='N', help='(1 8)'
    )
    text = 'runs of each model at each batch size (%(default)s)'
    parser.add_argument('--runs', type=int, default=20, metavar='N', help=text)
    text = 'of a run (as PyTorch chooses, for all)'
    parser.add_argument('--threads', type=int, default=0, metavar='N', help=text)
    parser.add_argument(
        '--img-size',
        type=int,
        nargs='+',
        metavar=('HEIGHT', 'WIDTH'),
        help='image size in pixels, for checkpoints and files that take any (default: as trained)',
    )
    text = 'leave the memory out, which takes a process for each model'
    parser.add_argument('--no-memory', action='store_true', help=text)
    text = 'writes results.csv, results.md and, with a metric, tradeoff.png there'
    parser.add_argument('--out-dir', metavar='FOLDER', help=text)


def run(args: argparse.Namespace) -> None:
    import torch

    from simmim_mm.compression.bench_model import Variant, bench_models, plot_tradeoff
    from simmim_mm.deploy.measure import processor
    from simmim_mm.experiments.report import text_table, write_rows

    size = args.img_size
    if size is not None and (len(size) > 2 or min(size) < 1):
        raise ValueError(f'--img-size takes a height and a width above 0, got {size}')
    if args.maps and not args.data:
        raise ValueError('--maps is for --data')
    rows = bench_models(
        [Variant.parse(text) for text in args.models],
        batch_sizes=args.batch_sizes,
        runs=args.runs,
        threads=args.threads,
        size=None if size is None else (size[0], size[-1]),
        data=args.data,
        maps=args.maps,
        values=dict(args.values) if args.values else None,
        metric=args.metric,
        memory=not args.no_memory,
        report=say,
    )
    note = f'On {processor()}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}.'
    print(f'\n{text_table(rows)}\n\n{note}')
    if args.out_dir:
        folder = Path(args.out_dir)
        write_rows(folder, rows, note)
        metric = list(rows[0])[-1]
        if args.data or args.values:
            plot_tradeoff(folder / 'tradeoff.png', rows, metric, args.batch_sizes[0])
        print(f'wrote {folder}')
