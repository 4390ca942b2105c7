"""Smaller copies of large images: ``simmim cache FOLDER --out FOLDER``."""

import argparse
from pathlib import Path

from simmim_mm.cli.common import add_workers, progress_ticks

HELP = 'write smaller copies of large images, which load faster'
DESCRIPTION = """
Write the images of a folder to another one with a short side of at most --short-side pixels, in
parallel; give that folder to any config. It pays where the originals are several times as large as
what the model sees: decoding them is then what a training waits for. An interrupted run continues
where it was. Images of more than 8 bits or four channels are copied as they are. Files that cannot
be read are listed in errors.txt and left out.
"""
CONTINUES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('folder', help='folder of images, searched with its subfolders')
    parser.add_argument('--out', required=True, help='folder for the copies, outside of the first')
    text = 'in pixels; twice the size that the model sees keeps detail for random crops (512)'
    parser.add_argument('--short-side', type=int, default=512, help=text)
    parser.add_argument('--quality', type=int, default=95, help='of JPEGs, 1 to 95 (95)')
    add_workers(parser)


def run(args: argparse.Namespace) -> None:
    from collections import Counter

    from simmim_mm.curation import cache_folder, write_lines

    with progress_ticks('caching') as tick:
        files = cache_folder(
            args.folder, args.out, args.short_side, args.quality, args.workers, tick
        )
    for status, number in Counter(file.status for file in files).most_common():
        print(f'{status:15} {number}')
    errors, path = [f for f in files if f.status == 'unreadable'], Path(args.out) / 'errors.txt'
    path.unlink(missing_ok=True)
    if errors:
        write_lines((f'{f.path}: {f.detail}' for f in errors), path)
        print(f'wrote {path}')
    if len(errors) == len(files):
        raise ValueError(f'none of the {len(files)} images in {args.folder} can be read')
    print(f'--data {args.out} trains on the copies')
