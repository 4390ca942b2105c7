"""Download CIFAR-10 as folders: ``simmim cifar10 OUT``."""

import argparse
from pathlib import Path

HELP = 'download CIFAR-10 as folders of images'
DESCRIPTION = """
Write CIFAR-10 as OUT/{train,test}/CLASS/*.png. The original files (170 MB) are downloaded to OUT
first, unless they are there.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('out', help='folder to write')


def run(args: argparse.Namespace) -> None:
    from rich.progress import track
    from torchvision.datasets import CIFAR10

    for split in ('train', 'test'):
        data = CIFAR10(args.out, train=split == 'train', download=True)
        for i in track(range(len(data)), description=split):
            image, label = data[i]
            folder = Path(args.out) / split / data.classes[label]
            folder.mkdir(parents=True, exist_ok=True)
            image.save(folder / f'{i:05d}.png')
