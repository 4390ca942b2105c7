"""Split a folder of images: ``simmim split FOLDER``."""

import argparse
import os
from pathlib import Path

from simmim_mm.cli.common import add_file_options, file_target, move_or_link, progress_ticks

HELP = 'split a folder of images into train, val and test'
DESCRIPTION = """
Split a folder of images into train, val and test. Subfolders are taken for classes, and each class
is split in the same ratios. With --group they, or a part of the names, are patients, slides or
videos, whose images stay together. Duplicates of an image go to one part: those that `simmim scan`
has found, or, without its report, those that are found now. Writes train.txt, val.txt and test.txt
(and train_labels.txt with a class number behind each path, and classes.txt); with --move or --link
and --apply also folders. The same seed gives the same split.
"""
RENAMED = {'--with-copies': '--with-duplicates'}

PARTS = ('train', 'val', 'test')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('folder', help='folder of images')
    parser.add_argument('--out', default='split', help='folder for the lists (split)')
    text = 'ratios of train, val and, if there is a third, test (0.8 0.1 0.1)'
    parser.add_argument('--ratios', type=float, nargs='+', default=[0.8, 0.1, 0.1], help=text)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--group',
        metavar='PATTERN',
        help='keep images together that lie in one folder (folder), or in whose paths a regular '
        r"expression matches the same, such as 'patient_\d+'",
    )
    parser.add_argument(
        '--report', help='report.csv of `simmim scan` for this folder; only what it keeps is split'
    )
    text = 'with --report: split duplicates too (without --report they always are)'
    parser.add_argument('--with-duplicates', action='store_true', help=text)
    add_file_options(parser, 'move the files to TO/train, TO/val, TO/test', 'link them there')


def images_and_groups(args: argparse.Namespace) -> tuple[list[str], list[str]]:
    from simmim_mm.curation import read_report, scan_folder

    if args.report:
        wanted = {'kept', 'duplicate', 'near_duplicate'} if args.with_duplicates else {'kept'}
        rows = [row for row in read_report(args.report) if row['status'] in wanted]
        return [row['path'] for row in rows], [row['group'] for row in rows]
    with progress_ticks('looking for duplicates') as tick:
        scan = scan_folder(args.folder, workers=args.workers, tick=tick)
    sound = [i for i, group in enumerate(scan.groups) if group >= 0]
    return [scan.paths[i] for i in sound], [str(scan.groups[i]) for i in sound]


def run(args: argparse.Namespace) -> None:
    import numpy as np

    from simmim_mm.curation import (
        join_groups,
        named_groups,
        plan_files,
        split_groups,
        write_lines,
    )

    if len(args.ratios) not in (2, 3):
        raise ValueError(f'--ratios takes two or three ratios, got {args.ratios}')
    target = file_target(args)
    if not os.path.isdir(args.folder):
        raise FileNotFoundError(f'no folder {args.folder}')
    paths, groups = images_and_groups(args)
    if not paths:
        raise ValueError(f'no fit image in {args.folder}')
    # the folders of --group folder are classes only if they lie in others
    depth = 2 if args.group == 'folder' else 1
    names = [path.split(os.sep)[0] if path.count(os.sep) >= depth else '' for path in paths]
    classes, labels = np.unique(names, return_inverse=True)
    if args.group:
        together = named_groups(paths, args.group)
        print(f'{len(set(together))} groups by --group {args.group} stay together')
        groups = join_groups(groups, together)
    parts = split_groups(labels, np.unique(groups, return_inverse=True)[1], args.ratios, args.seed)
    for part, ratio in zip(PARTS, args.ratios):
        if ratio and not (parts == PARTS.index(part)).any():
            print(f'warning: {part} is empty: there are too few images or groups for {ratio:g}')

    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    named = len(classes) > 1
    if named:
        print(
            f'subfolders are taken for {len(classes)} classes'
            + ('' if args.group else ', each of which is split; --group folder keeps them whole')
        )
        write_lines(classes, out / 'classes.txt')
        print(f'{"":20}' + ''.join(f'{part:>8}' for part in PARTS[: len(args.ratios)]))
        for label, name in enumerate(classes):
            numbers = np.bincount(parts[labels == label], minlength=len(args.ratios))
            print(f'{name or "(no folder)":20}' + ''.join(f'{number:8}' for number in numbers))
    plan: list = []
    for i, part in enumerate(PARTS):  # without a ratio: emptied, if it is there
        chosen = np.flatnonzero(parts == i)
        write_lines((paths[k] for k in chosen), out / f'{part}.txt')
        if named:
            lines = (f'{paths[k]} {labels[k]}' for k in chosen)
            write_lines(lines, out / f'{part}_labels.txt')
        if i < len(args.ratios):
            print(f'{part}: {len(chosen)} images, {out / part}.txt')
        if target:
            folder = os.path.join(target, part)
            plan += plan_files(args.folder, (paths[k] for k in chosen), folder)
    if target:
        move_or_link(args, plan)
