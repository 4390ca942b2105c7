"""Look for broken, unfit and duplicate images: ``simmim scan FOLDER``."""

import argparse
import os
from pathlib import Path

from simmim_mm.cli.common import add_file_options, progress_ticks

HELP = 'look for broken, unfit and duplicate images'
DESCRIPTION = """
Look for broken, unfit and duplicate images in a folder. Writes report.csv, report.html and
kept.txt, the list of the images that are left, which ImageDataset(ann_file='kept.txt') reads. The
images stay as they are: --move and --link say what would be done, and do it only with --apply. No
file is ever deleted.
"""
RENAMED = {'--bands': '--channels'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('folder', help='folder of images, searched with its subfolders')
    parser.add_argument('--out', default='scan', help='folder for the report (scan)')
    parser.add_argument(
        '--min-size', type=int, default=32, help='shortest side that is fit, in pixels (32)'
    )
    parser.add_argument(
        '--channels',
        type=int,
        nargs='+',
        default=[],
        help='numbers of channels that are fit: 1 gray, 3 RGB, 4 with opacity or CMYK (any)',
    )
    parser.add_argument(
        '--distance',
        type=int,
        default=4,
        help='bits of 64 in which the perceptual hashes of duplicates may differ, up to 12; more '
        'finds more duplicates and more false ones; -1 looks for exact ones only (4)',
    )
    parser.add_argument('--mirrored', action='store_true', help='mirror images are duplicates too')
    parser.add_argument(
        '--workers', type=int, default=os.cpu_count(), help='processes (one per core)'
    )
    add_file_options(
        parser, 'move what is not kept to this folder', 'link what is kept below this folder'
    )


def run(args: argparse.Namespace) -> None:
    from simmim_mm.curation import (
        apply_plan,
        plan_files,
        scan_folder,
        write_csv,
        write_html,
        write_lines,
    )

    if not -1 <= args.distance <= 12:
        raise ValueError(f'--distance must be -1 to 12, got {args.distance}')
    if args.apply and not (args.move or args.link):
        raise ValueError('--apply needs --move TO or --link TO')
    with progress_ticks('scanning') as tick:
        scan = scan_folder(
            args.folder,
            min_size=args.min_size,
            channels=args.channels,
            distance=args.distance,
            mirrored=args.mirrored,
            workers=args.workers,
            tick=tick,
        )
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    kept = [path for path, keep in zip(scan.paths, scan.kept) if keep]
    write_csv(scan, out / 'report.csv')
    write_html(scan, out / 'report.html')
    write_lines(kept, out / 'kept.txt')
    for status, number in scan.counts().most_common():
        print(f'{status:15} {number}')
    print(f'wrote {out}/report.html, report.csv and kept.txt')

    target = args.move or args.link
    if not target:
        return
    paths = kept if args.link else [p for p, keep in zip(scan.paths, scan.kept) if not keep]
    verb = 'link' if args.link else 'move'
    if args.apply:
        number = apply_plan(plan_files(args.folder, paths, target), link=bool(args.link))
        print(f'{verb}: {number} files to {target}')
    else:
        print(f'would {verb} {len(paths)} files to {target}; add --apply to do it')
