#!/usr/bin/env python
"""Generate labeled images to try things out: python tools/dataset/make_shapes.py OUT."""

import argparse
import sys

try:
    import simmim_mm  # noqa: F401  it checks the stack, before anything else is imported
except ImportError as error:
    sys.exit(f'error: {error}')

from rich.progress import Progress

from simmim_mm.cli.common import run_tool
from simmim_mm.experiments.shapes import CLASSES, write_shapes


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Write images of textured shapes (' + ', '.join(CLASSES) + ') on textured '
        'grounds, with labels for classification (a folder per class), detection and instance '
        'segmentation (COCO json), semantic segmentation (label maps), and some without labels. '
        'Equal arguments give equal files.',
    )
    parser.add_argument('out', help='folder to write; new or empty')
    parser.add_argument(
        '--train', type=int, default=60, help='images for training, per task (%(default)s)'
    )
    parser.add_argument(
        '--val', type=int, default=20, help='images for validation, per task (%(default)s)'
    )
    parser.add_argument(
        '--unlabeled', type=int, default=100, help='images without labels (%(default)s)'
    )
    parser.add_argument('--size', type=int, default=128, help='side in pixels (%(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='(%(default)s)')
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    total = 2 * (args.train + args.val) + args.unlabeled
    with Progress(transient=True) as bar:
        task = bar.add_task('images', total=total)
        write_shapes(**vars(args), tick=lambda: bar.advance(task))
    print(f'{args.out}: images, annotations, semantic, classification, unlabeled')


if __name__ == '__main__':
    arguments = parse_args()
    run_tool(lambda: main(arguments))
