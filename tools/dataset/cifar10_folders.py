#!/usr/bin/env python
"""Download CIFAR-10 and write it as folders: python tools/dataset/cifar10_folders.py OUT."""

import argparse
import sys
from pathlib import Path

try:
    import simmim_mm  # noqa: F401  it checks the stack, before anything else is imported
except ImportError as error:
    sys.exit(f'error: {error}')

from rich.progress import track

from simmim_mm.cli.common import run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Write CIFAR-10 as OUT/{train,test}/<class>/*.png. The original files (170 MB) '
        'are downloaded to OUT first, unless they are there.'
    )
    parser.add_argument('out', help='folder to write')
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    from torchvision.datasets import CIFAR10

    for split in ('train', 'test'):
        data = CIFAR10(args.out, train=split == 'train', download=True)
        for i, (image, label) in enumerate(track(data, description=split, total=len(data))):
            folder = Path(args.out) / split / data.classes[label]
            folder.mkdir(parents=True, exist_ok=True)
            image.save(folder / f'{i:05d}.png')


if __name__ == '__main__':
    arguments = parse_args()
    run_tool(lambda: main(arguments))
