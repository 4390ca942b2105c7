"""Look for broken, unfit and duplicate images: ``simmim scan FOLDER``."""

import argparse
from collections import Counter
from pathlib import Path

from simmim_mm.cli.common import (
    add_file_options,
    add_nodata,
    file_target,
    move_or_link,
    progress_ticks,
)

HELP = 'look for broken, unfit and duplicate images'
DESCRIPTION = """
Look for broken, unfit and duplicate images in a folder. Writes report.csv, report.html and
kept.txt, the list of the images that are left, which ImageDataset(ann_file='kept.txt') reads. An
interrupted scan continues where it was. The images stay as they are: --move and --link say what
would be done, and do it only with --apply. No file is ever deleted.
"""
CONTINUES = True
RENAMED = {'--bands': '--channels'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('folder', help='folder of images, searched with its subfolders')
    parser.add_argument('--out', default='scan', help='folder for the report (scan)')
    parser.add_argument(
        '--min-size', type=int, default=32, help='shortest side that is fit, in pixels (32)'
    )
    text = 'numbers of channels that are fit: 1 gray, 3 RGB, 4 with opacity or CMYK (any)'
    parser.add_argument('--channels', type=int, nargs='+', default=[], help=text)
    parser.add_argument(
        '--distance',
        type=int,
        default=4,
        help='bits of 64 in which the perceptual hashes of duplicates may differ, up to 12; more '
        'finds more duplicates and more false ones; -1 looks for exact ones only (4)',
    )
    parser.add_argument('--mirrored', action='store_true', help='mirror images are duplicates too')
    add_nodata(parser)
    parser.add_argument(
        '--annotations',
        nargs='+',
        default=[],
        metavar='JSON',
        help='COCO files to check, whose file names start from the folder; what can be repaired is '
        'written to a copy beside the report',
    )
    add_file_options(
        parser, 'move what is not kept to this folder', 'link what is kept below this folder'
    )


def run(args: argparse.Namespace) -> None:
    from simmim_mm import curation
    from simmim_mm.checkpoint.file_backend import remove_stale_files
    from simmim_mm.datasets.errors import DataError, first_few
    from simmim_mm.datasets.shards import are_shards
    from simmim_mm.datasets.values import check_nodata

    nodata = check_nodata(args.nodata)
    if not -1 <= args.distance <= 12:
        raise ValueError(f'--distance must be -1 to 12, got {args.distance}')
    target = file_target(args)
    if target and are_shards(args.folder):
        raise ValueError(
            f'--move, --link: the images in {args.folder} are in shards; train on what is kept by '
            'ann_file=kept.txt'
        )
    out, journal = Path(args.out), Path(args.out, 'scan.journal')
    with progress_ticks('scanning') as tick:
        names = ('min_size', 'channels', 'distance', 'mirrored', 'workers')
        options = {name: getattr(args, name) for name in names}
        scan = curation.scan_folder(
            args.folder, **options, tick=tick, nodata=nodata, journal=journal
        )
    out.mkdir(parents=True, exist_ok=True)
    remove_stale_files(out)
    kept = [path for path, keep in zip(scan.paths, scan.kept) if keep]
    curation.write_csv(scan, out / 'report.csv')
    curation.write_html(scan, out / 'report.html')
    curation.write_lines(kept, out / 'kept.txt')
    journal.unlink()
    for status, number in scan.counts().most_common():
        print(f'{status:15} {number}')
    for fault, number in Counter(fault for fault, _ in scan.faults.values()).items():
        if fault in ('unsupported', 'not_finite'):
            first = next(i for i in sorted(scan.faults) if scan.faults[i][0] == fault)
            print(f'{number} {fault}, such as {scan.paths[first]}: {scan.faults[first][1]}')
    print(f'wrote {out}/report.html, report.csv and kept.txt')
    refused = [path for path in args.annotations if not check_annotations(path, args.folder, out)]
    if target:
        paths = kept if args.link else [p for p, keep in zip(scan.paths, scan.kept) if not keep]
        move_or_link(args, curation.plan_files(args.folder, paths, target))
    if refused:
        raise DataError(f'no training would take these, see above: {first_few(refused)}')


def check_annotations(path: str, folder: str, out: Path) -> bool:
    """Print what is wrong in a COCO json, and write it repaired; False if it cannot be used."""
    from simmim_mm.curation import inspect_coco
    from simmim_mm.datasets.readers.coco_report import REFUSED

    report = inspect_coco(path, folder)
    for problem in sorted(report.problems, key=lambda problem: problem.outcome != REFUSED):
        print(f'{"error: " * (problem.outcome == REFUSED)}{path}: {problem}')
    if not report.problems:
        print(f'{path}: nothing is wrong')
    if report.repaired and not report.refused:
        copy = out / Path(path).name
        if copy.resolve() == Path(path).resolve():
            raise ValueError(f'--out: {path} is there and would be overwritten')
        report.write(copy)
        print(f'wrote {copy}, repaired')
    return not report.refused
