"""What the images of a folder are: ``simmim stats FOLDER``."""

import argparse
from typing import TYPE_CHECKING

from simmim_mm.cli.common import add_channels, add_nodata, add_workers, progress_ticks

if TYPE_CHECKING:
    from collections import Counter

HELP = 'sizes, types, mean and standard deviation of a folder of images'
DESCRIPTION = """
Show the sizes, formats, types, channels and values of the images in a folder, and the mean and
standard deviation of each channel, with the lines to set them in a config. They are in the values
that LoadImage gives with the same --channels, --window and --nodata. Every image counts the same,
however large it is.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('folder', help='folder of images, searched with its subfolders')
    add_channels(parser)
    parser.add_argument(
        '--window',
        nargs=2,
        metavar=('LOW', 'HIGH'),
        help='values, or percentiles such as 1%% 99%%, that are stretched to 0..255',
    )
    add_nodata(parser)
    parser.add_argument(
        '--max-images', type=int, metavar='N', help='look at so many, spread over the folder (all)'
    )
    add_workers(parser)


def run(args: argparse.Namespace) -> None:
    import numpy as np

    from simmim_mm.curation.stats import config_lines, folder_stats

    if args.max_images is not None and args.max_images < 1:
        raise ValueError(f'--max-images must be at least 1, got {args.max_images}')
    window = args.window and tuple(x if x.endswith('%') else float(x) for x in args.window)
    with progress_ticks('measuring') as tick:
        stats = folder_stats(
            args.folder, args.channels, window, args.nodata, args.max_images, args.workers, tick
        )
    by_area = stats.sizes[np.argsort(stats.sizes.prod(1), kind='stable')]
    smallest, median, largest = (
        f'{width}x{height}' for height, width in by_area[[0, len(by_area) // 2, -1]]
    )
    print(f'images    {len(stats.sizes)} of {stats.num_files}, {len(stats.bad)} unreadable')
    print(f'sizes     {smallest} to {largest}, median {median}')
    print(f'formats   {_counts(stats.endings)}')
    print(f'types     {_counts(stats.types)}, values {stats.low:g} to {stats.high:g}')
    print(f'channels  {_counts(stats.channels)}')
    if stats.loader.nodata is not None:
        print(f'no-data   {stats.nodata:.1%} of the pixels, left out below')
    print()
    print(*config_lines(stats), sep='\n')
    if stats.suspected:
        value, images = stats.suspected.most_common(1)[0]
        print(
            f'warning: {images} images hold {value:g}, far from their other values: if it stands '
            f'for no data, add --nodata={value!r}'
        )
    if stats.bad:
        print(f'warning: {len(stats.bad)} images are left out, such as {stats.bad[0][1]}')


def _counts(counter: 'Counter') -> str:
    return ', '.join(f'{key} ({number})' for key, number in counter.most_common())
