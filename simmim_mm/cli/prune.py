"""A smaller backbone out of a pretrained one: ``simmim prune CHECKPOINT --operations 0.5``."""

import argparse

from simmim_mm.cli.common import add_checkpoint_options, checkpoint_options

HELP = 'make a pretrained backbone smaller and faster'
DESCRIPTION = """
Take the heads and channels that matter least out of a pretrained backbone, to a ratio of its
operations or parameters. Writes a checkpoint of an ordinary backbone, and a config that trains it
on for a short recovery.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('checkpoint', help='checkpoint (.pth) that training wrote')
    ratio = parser.add_mutually_exclusive_group(required=True)
    ratio.add_argument('--operations', type=float, metavar='RATIO', help='of operations to keep')
    ratio.add_argument('--parameters', type=float, metavar='RATIO', help='of parameters to keep')
    parser.add_argument(
        '--images',
        metavar='FOLDER',
        help='images without labels: heads and channels are ranked by what the loss of the '
        'pretraining loses without them (default: by their weights)',
    )
    parser.add_argument(
        '--num', type=int, default=256, metavar='N', help='images to take from it (%(default)s)'
    )
    parser.add_argument('--batch-size', type=int, default=8, metavar='N', help='(%(default)s)')
    parser.add_argument(
        '--img-size',
        type=int,
        nargs='+',
        metavar=('HEIGHT', 'WIDTH'),
        help='image size in pixels at which operations are counted (default: as trained)',
    )
    parser.add_argument(
        '-o',
        '--out',
        default='pruned.pth',
        metavar='FILE',
        help='the checkpoint to write; the config goes beside it, in .py (%(default)s)',
    )
    parser.add_argument('--force', action='store_true', help='replace what is there')
    add_checkpoint_options(parser)


def run(args: argparse.Namespace) -> None:
    from simmim_mm.compression import prune_checkpoint

    config, device = checkpoint_options(args)
    report = prune_checkpoint(
        args.checkpoint,
        args.out,
        operations=args.operations,
        parameters=args.parameters,
        images=args.images,
        num_images=args.num,
        batch_size=args.batch_size,
        img_size=args.img_size,
        config=config,
        device=device,
        overwrite=args.force,
    )
    print(report)
