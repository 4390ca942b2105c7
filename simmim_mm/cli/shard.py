"""Images in tar files: ``simmim shard FOLDER OUT``."""

import argparse
from pathlib import Path

from simmim_mm.cli.common import add_workers, progress_ticks

HELP = 'write a folder of images as tar files, for disks and networks that are slow with many files'
DESCRIPTION = """
Write the images of a folder to tar files (shards), as WebDataset reads them, with an index of each
and a manifest of counts and hashes. The folder OUT, or the URL it is copied to, stands wherever a
folder of images does: simmim train CONFIG --data OUT. An interrupted run continues where it was;
the same images and settings give the same bytes. Files that cannot be read are listed in errors.txt
and left out.
"""
CONTINUES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('folder', help='folder of images, or of shards to write anew or to check')
    parser.add_argument('out', nargs='?', help='folder for the shards, outside of the first')
    parser.add_argument('--images', type=int, default=1000, help='in a shard (%(default)s)')
    parser.add_argument(
        '--short-side',
        type=int,
        metavar='PIXELS',
        help='write copies with at most this short side, as cache does (the files as they are)',
    )
    parser.add_argument('--quality', type=int, default=95, help='of smaller JPEGs, 1 to 95 (95)')
    parser.add_argument(
        '--labels', action='store_true', help="the folder's folders are classes: add .cls files"
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='of the order in which images are spread (0)'
    )
    parser.add_argument(
        '--keep-order', action='store_true', help='spread them in the order of their paths'
    )
    parser.add_argument(
        '--check', action='store_true', help='compare the shards in FOLDER with their manifest'
    )
    add_workers(parser)


def run(args: argparse.Namespace) -> None:
    from simmim_mm.curation import check_shards, shard_folder, write_lines
    from simmim_mm.datasets.errors import DataError

    if args.check == bool(args.out):
        raise ValueError('give a folder for the shards, OUT, or --check to compare those that are')
    if args.check:
        with progress_ticks('checking') as tick:
            wrong = check_shards(args.folder, args.workers, tick)
        for name, problem in wrong.items():
            print(f'{name} {problem}')
        if wrong:
            raise DataError(f'{len(wrong)} shards in {args.folder} are not as they were written')
        print(f'all shards in {args.folder} are as they were written')
        return
    with progress_ticks('shards') as tick:
        written = shard_folder(
            args.folder,
            args.out,
            args.images,
            args.short_side,
            args.quality,
            args.labels,
            None if args.keep_order else args.seed,
            args.workers,
            tick,
        )
    images, size = (sum(getattr(s, key) for s in written.shards) for key in ('images', 'bytes'))
    done = f', {written.done_before} of them done before' if written.done_before else ''
    print(f'{images} images in {len(written.shards)} shards of {size / 1e6:.1f} MB in all{done}')
    path = Path(args.out) / 'errors.txt'
    path.unlink(missing_ok=True)
    if written.left_out:
        write_lines((f'{name}: {reason}' for name, reason in written.left_out), path)
        print(f'left out {len(written.left_out)} files that cannot be read, see {path}')
    print(f'--data {args.out} trains on them')
