"""Draw predictions: ``simmim reconstruct CHECKPOINT IMAGE_OR_FOLDER``."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from simmim_mm.cli.common import add_checkpoint_options, checkpoint_options, find_images

if TYPE_CHECKING:
    from PIL.Image import Image

    from simmim_mm.visualization.reconstructor import Reconstructor

HELP = 'draw images, masked and reconstructed by a model, as a PNG grid'
RENAMED = {'--bands': '--channels'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('checkpoint', help='a checkpoint (.pth) that training wrote')
    parser.add_argument('images', help='an image, or a folder of images')
    parser.add_argument('--out', default='reconstruction.png', help='the file to write')
    parser.add_argument('--mask', help='an image with a hole painted in white, to be filled')
    parser.add_argument('--num', type=int, default=6, help='images to take from a folder')
    parser.add_argument('--seed', type=int, default=0, help='chooses the random masks')
    parser.add_argument(
        '--stats',
        choices=['true', 'visible'],
        help='where a normalized prediction gets its mean and contrast from: the whole image '
        '(default) or the visible part only (default with --mask)',
    )
    parser.add_argument(
        '--channels', type=int, nargs='+', help='channels to show: one as gray, or three as RGB'
    )
    add_checkpoint_options(parser)


def draw_reconstructions(
    reconstructor: 'Reconstructor', files: list[str], args: argparse.Namespace
) -> 'Image':
    from simmim_mm.datasets import UnreadableImage
    from simmim_mm.visualization import draw_grid

    sound = []
    for file in files:
        try:
            reconstructor.pipeline(dict(img_path=str(file), sample_idx=0))
            sound.append(file)
        except UnreadableImage as error:
            if len(files) == 1:
                raise
            print(f'warning: skipped {error}', file=sys.stderr)
    if not sound:
        raise FileNotFoundError(f'none of the {len(files)} files is a readable image')
    stats = args.stats or 'true'
    drawn = reconstructor.reconstruct(sound, args.seed, stats)
    print('\n'.join(f'row {i}: {file}' for i, file in enumerate(sound, 1)))
    return draw_grid(drawn, args.channels, note=reconstructor.note(stats))


def run(args: argparse.Namespace) -> None:
    files = find_images(args.images, args.num)
    if args.mask and os.path.isdir(args.images):
        raise FileNotFoundError(f'--mask belongs to one image, but {args.images} is a folder')
    if args.mask and not os.path.isfile(args.mask):
        raise FileNotFoundError(f'no mask file {args.mask}')

    from simmim_mm.visualization.reconstructor import Reconstructor

    config, device = checkpoint_options(args)
    reconstructor = Reconstructor.from_checkpoint(args.checkpoint, config, device)
    if any(name.startswith('neck.') for name in reconstructor.missing):
        print(
            f'warning: {args.checkpoint} holds no weights of the decoder (neck.*): it was exported '
            'or stripped, and what is drawn comes from random weights',
            file=sys.stderr,
        )
    if args.mask:
        stats = args.stats or 'visible'
        drawn = reconstructor.draw_filled(files[0], args.mask, stats, args.channels)
    else:
        drawn = draw_reconstructions(reconstructor, files, args)
    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    drawn.save(out)
    print(f'wrote {out}')
