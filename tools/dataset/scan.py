#!/usr/bin/env python
"""Look for broken, unfit and duplicate images: python tools/dataset/scan.py FOLDER."""

import argparse
import os
import sys

try:
    import simmim_mm  # noqa: F401  it checks the stack, before anything else is imported
except ImportError as error:
    sys.exit(f'error: {error}')

from pathlib import Path

from simmim_mm.cli.common import run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Look for broken, unfit and duplicate images in a folder. Writes report.csv, '
        'report.html and kept.txt, the list of the images that are left, which '
        "ImageDataset(ann_file='kept.txt') reads. The images stay as they are: with --move or "
        '--link it says what would be done, and does it only with --apply. No file is ever '
        'deleted.'
    )
    parser.add_argument('folder', help='folder of images, searched with its subfolders')
    parser.add_argument('--out', default='scan', help='folder for the report (scan)')
    parser.add_argument(
        '--min-size', type=int, default=32, help='shortest side that is fit, in pixels (32)'
    )
    parser.add_argument(
        '--bands',
        type=int,
        nargs='+',
        default=[],
        help='numbers of bands that are fit: 1 gray, 3 RGB, 4 with opacity or CMYK (any)',
    )
    parser.add_argument(
        '--distance',
        type=int,
        default=4,
        help='bits of 64 in which the perceptual hashes of copies may differ, up to 12; more finds '
        'more copies and more false ones; -1 looks for exact copies only (4)',
    )
    parser.add_argument('--mirrored', action='store_true', help='mirror images are copies too')
    parser.add_argument(
        '--workers', type=int, default=os.cpu_count(), help='processes (one per core)'
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument('--move', metavar='TO', help='move what is not kept to this folder')
    group.add_argument('--link', metavar='TO', help='link what is kept below this folder')
    parser.add_argument('--apply', action='store_true', help='do what --move or --link ask for')
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    from simmim_mm.cli.progress import progress_ticks
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
            channels=args.bands,
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


if __name__ == '__main__':
    arguments = parse_args()
    run_tool(lambda: main(arguments))
