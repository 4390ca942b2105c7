"""Features of images in a file: ``simmim embed CHECKPOINT FOLDER``."""

import argparse
import sys
from pathlib import Path

from simmim_mm.cli.common import add_checkpoint_options, checkpoint_options, progress_ticks

HELP = 'write the features of images to a file, for search, clustering or a model on top'
DESCRIPTION = """
Write the features that a pretrained backbone gives of every image of a folder, loaded as in its
pretraining, with the paths of the images. Files that cannot be read are listed and left out. An
interrupted run continues where it was.
"""
CONTINUES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('checkpoint', help='checkpoint of a pretraining, or of other code')
    parser.add_argument('images', help='an image, or a folder that is searched with its subfolders')
    parser.add_argument(
        '--out',
        default='features.npy',
        metavar='FILE',
        help='.npy (the paths go beside it, in .txt), .csv or .parquet (%(default)s)',
    )
    parser.add_argument(
        '--patches', action='store_true', help='a feature for each position instead of their mean'
    )
    parser.add_argument('--batch-size', type=int, default=64, help='(%(default)s)')
    parser.add_argument('--num-workers', type=int, default=2, help='(%(default)s)')
    parser.add_argument('--force', action='store_true', help='replace what is there')
    add_checkpoint_options(parser)


def run(args: argparse.Namespace) -> None:
    from simmim_mm.api import embed
    from simmim_mm.evaluation.kept_features import remove_finished

    remove_finished(args.out)
    if Path(args.out).exists() and not args.force:
        raise ValueError(f'{args.out} exists: give another name with --out, or --force')
    config, device = checkpoint_options(args)
    with progress_ticks('features') as tick:
        found = embed(
            args.checkpoint,
            args.images,
            out=args.out,
            patches=args.patches,
            batch_size=args.batch_size,
            num_workers=args.num_workers,
            config=config,
            device=device,
            progress=tick,
        )
    for path, reason in found.unreadable.items():
        print(f'warning: left out {path}: {reason}', file=sys.stderr)
    shape = 'x'.join(map(str, found.features.shape[1:]))
    done = f', {found.done_before} of them done before' if found.done_before else ''
    print(f'wrote {args.out}: features of {shape} of {len(found.paths)} images{done}')
