#!/usr/bin/env python
"""Show what pretraining is worth where labels are few: python tools/demo_transfer.py.

Takes some ten minutes on two CPU cores. It puts the handwritten digits of scikit-learn on sample
photographs, pretrains a small ViT on the images without their labels, and lets `simmim compare`
train classifiers on a few and on more labels, from the pretrained backbone and from scratch.
"""

import argparse
import csv
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from demo import SIDE, TOOLS, pretrain, sample_photographs, say, shortened

from simmim_mm.cli.common import renew_options, run_tool

CONFIGS = TOOLS.parent / 'configs' / 'demo'
SIZE = 24  # of the images, in pixels: the digits have 8
DARKENED = 0.2  # brightness of the photographs, behind light digits
HELD_OUT = 500  # digits, of 1,797, that only the validation shows


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Pretrain on handwritten digits on photographs, and train classifiers on few '
        'labels from that checkpoint and from scratch'
    )
    parser.add_argument(
        '--out', default='work_dirs/demo_transfer', help='folder for everything (%(default)s)'
    )
    parser.add_argument('--iters', type=int, help='of every training (see configs/demo)')
    parser.add_argument(
        '--labeled', type=int, default=1000, help='images with labels to train on (%(default)s)'
    )
    parser.add_argument(
        '--unlabeled', type=int, default=6000, help='images to pretrain on (%(default)s)'
    )
    parser.add_argument('--val', type=int, default=1000, help='images to validate on (%(default)s)')
    parser.add_argument('--seeds', type=int, default=3, help='trainings of each kind (%(default)s)')
    text = 'fractions of the labels to train on (default: 0.03 0.1 1)'
    parser.add_argument(
        '--label-share', type=float, nargs='+', default=[0.03, 0.1, 1], metavar='F', help=text
    )
    renamed = {'--labelled': '--labeled', '--unlabelled': '--unlabeled'}  # codespell:ignore
    return parser.parse_args(renew_options('demo_transfer.py', sys.argv[1:], renamed))


class Source(NamedTuple):
    """What the images of one part are made of: no part of the validation is in another."""

    digits: np.ndarray  # (N, 8, 8), 0 to 16
    labels: np.ndarray  # (N,)
    photographs: list[np.ndarray]  # (H, W, 3) uint8 BGR


def reduced(image: np.ndarray) -> np.ndarray:
    """The image with a shorter side of SIDE pixels."""
    import cv2

    ratio = SIDE / min(image.shape[:2])
    return cv2.resize(image, None, fx=ratio, fy=ratio, interpolation=cv2.INTER_AREA)


def sources() -> tuple[Source, Source]:
    """Digits and photographs to train on, and others to validate on."""
    import cv2
    from sklearn.datasets import load_digits

    bunch = load_digits()
    parts = slice(0, -HELD_OUT), slice(-HELD_OUT, None)
    read = [[reduced(cv2.imread(str(file))) for file in files] for files in sample_photographs()]
    first, second = (Source(bunch.images[p], bunch.target[p], r) for p, r in zip(parts, read))
    return first, second


def draw_digit(rng: np.random.Generator, digit: np.ndarray, photograph: np.ndarray) -> np.ndarray:
    """A light digit at a random place, size and angle, on a darkened piece of a photograph.

    Returns:
        ``(SIZE, SIZE, 3)`` uint8 BGR.
    """
    import cv2

    side = int(rng.integers(SIZE, 1 + 3 * SIZE))
    y, x = (int(rng.integers(1 + length - side)) for length in photograph.shape[:2])
    piece = photograph[y : y + side, x : x + side]
    ground = DARKENED * cv2.resize(piece, (SIZE, SIZE), interpolation=cv2.INTER_AREA).astype(float)
    scale, angle = SIZE * rng.uniform(0.85, 1) / 8, np.deg2rad(rng.uniform(-10, 10))
    a, b = scale * np.cos(angle), scale * np.sin(angle)
    turn = np.array([[a, -b], [b, a]])
    room = SIZE / 2 - 4 * scale
    center = (SIZE - 1) / 2 + rng.uniform(-room, room, 2)
    matrix = np.column_stack([turn, center - turn @ [3.5, 3.5]])
    ink = (digit / 16).astype(np.float32)  # OpenCV 5.0 rounds float64 down near the border
    ink = cv2.warpAffine(ink, matrix, (SIZE, SIZE), flags=cv2.INTER_CUBIC)
    ink = np.clip(1.6 * ink - 0.3, 0, 1)[..., None]
    image = ground + ink * (rng.uniform(170, 255) - ground) + rng.normal(0, 2, ground.shape)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def write_digits(out: Path, unlabeled: int, labeled: int, val: int) -> None:
    """Write ``unlabeled/*.png`` and ``labeled/{train,val}/DIGIT/*.png``, in place of older ones."""
    import cv2

    training, held_out = sources()
    parts = {
        'unlabeled': (training, unlabeled),
        'labeled/train': (training, labeled),
        'labeled/val': (held_out, val),
    }
    for old in out.rglob('[0-9]*.png'):
        old.unlink()
    for number, (part, (source, count)) in enumerate(parts.items()):
        order = np.random.default_rng(number).permutation(len(source.digits))
        of_class = [order[source.labels[order] == label] for label in range(10)]
        for i in range(count):
            label, turn = i % 10, i // 10  # as many of each class
            rng = np.random.default_rng([number, i])  # its own: more images change none of these
            k = of_class[label][turn % len(of_class[label])]
            photograph = source.photographs[rng.integers(len(source.photographs))]
            folder = out / part / ('' if part == 'unlabeled' else str(label))
            folder.mkdir(parents=True, exist_ok=True)
            image = draw_digit(rng, source.digits[k], photograph)
            if not cv2.imwrite(str(folder / f'{i:05d}.png'), image):
                raise OSError(f'could not write {folder}/{i:05d}.png')


def compare(out: Path, checkpoint: Path, args: argparse.Namespace) -> Path:
    """Call `simmim compare` as a user would; returns its folder."""
    folder = out / 'compare'
    command = [sys.executable, '-m', 'simmim_mm.cli', 'compare', 'classification']
    command += ['--config', str(CONFIGS / 'digits_classification.py')]
    command += ['--checkpoints', f'pretrained={checkpoint}', '--work-dir', str(folder)]
    command += ['--label-share', *map(str, args.label_share), '--seeds', str(args.seeds)]
    command += ['--jobs', str(min(2, len(os.sched_getaffinity(0))))]
    command += ['--iters', str(args.iters)] if args.iters else []
    labeled = out / 'digits' / 'labeled'
    options = (f'{x}_dataloader.dataset.data_root={labeled}' for x in ('train', 'val'))
    command += ['--cfg-options', *options]
    print('    ' + shlex.join(command), flush=True)
    if code := subprocess.run(command).returncode:
        sys.exit(code)
    return folder


def sentence(rows: list[dict], labeled: int) -> str:
    """What pretraining gained at each number of labels, of the rows of results.csv."""
    parts, shown = [], 0
    for row in (row for row in rows if row['difference']):
        labels = round(float(row['label_share']) * labeled)
        interval = ''
        if row['low']:
            interval = f' ({float(row["low"]):.1f} to {float(row["high"]):.1f})'
            shown += float(row['low']) > 0
        parts.append(f'{float(row["difference"]):+.1f} points with {labels} labels{interval}')
    beyond = {0: 'none', len(parts): 'each'}.get(shown, f'{shown} of {len(parts)}')
    return (
        f'Pretraining changes the accuracy by {", ".join(parts)} (95% intervals, paired by seed): '
        f'{beyond} is a gain beyond the spread of the seeds.'
    )


def main(args: argparse.Namespace) -> None:
    begin = time.time()
    out = Path(args.out)
    data = out / 'digits'
    say(f'Drawing {args.unlabeled} unlabeled and {args.labeled} labeled images in {data}')
    write_digits(data, args.unlabeled, args.labeled, args.val)
    say('Pretraining on the unlabeled images')
    options = {'train_dataloader.dataset.data_root': data / 'unlabeled'}
    options.update(shortened(args.iters, warmup=100))
    checkpoint = pretrain(CONFIGS / 'digits_pretrain.py', out / 'pretraining', options, batch=64)
    say('Training classifiers, from scratch and pretrained')
    folder = compare(out, checkpoint, args)
    with open(folder / 'results.csv', newline='', encoding='utf-8') as file:
        rows = [{'label_share': args.label_share[0], **row} for row in csv.DictReader(file)]
    print(sentence(rows, args.labeled))
    print(f"""
checkpoint  {checkpoint}
table       {folder}/results.md
curve       {folder}/label_share.png

{time.time() - begin:.0f} seconds in all.""")


if __name__ == '__main__':
    arguments = parse_args()
    run_tool(lambda: main(arguments))
