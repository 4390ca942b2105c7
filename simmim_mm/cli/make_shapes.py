"""Generate labeled images to try things out: ``simmim make-shapes OUT``."""

import argparse

HELP = 'generate labeled images of shapes to try things out'
DESCRIPTION = """
Write images of textured shapes (circle, square, triangle, star) on textured grounds, with labels
for classification (a folder per class), detection and instance segmentation (COCO json), semantic
segmentation (segmentation maps), and some without labels. Equal arguments give equal files.
"""
RENAMED = {'--unlabelled': '--unlabeled'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
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


def run(args: argparse.Namespace) -> None:
    from rich.progress import Progress

    from simmim_mm.experiments.shapes import write_shapes

    total = 2 * (args.train + args.val) + args.unlabeled
    with Progress(transient=True) as bar:
        task = bar.add_task('images', total=total)
        write_shapes(**vars(args), tick=lambda: bar.advance(task))
    print(f'{args.out}: images, annotations, semantic, classification, unlabeled')
