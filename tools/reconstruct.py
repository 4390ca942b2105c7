#!/usr/bin/env python
"""Draw what a pretrained model predicts: python tools/reconstruct.py CHECKPOINT IMAGE_OR_FOLDER."""

import argparse
import os
import sys
from pathlib import Path

try:
    import simmim_mm  # noqa: F401  it checks the stack, before anything else is imported
except ImportError as error:
    sys.exit(f'error: {error}')

import numpy as np

from simmim_mm.cli.common import load_config, run_tool

MAX_SIDE = 640  # of a picture with a painted mask, in pixels


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Draw images, masked and reconstructed by a model, as a PNG grid'
    )
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
    parser.add_argument(
        '--config', help='config file, for a checkpoint that does not carry its own'
    )
    parser.add_argument('--device', help='cpu or cuda (default: cuda if there is one)')
    return parser.parse_args()


def find_images(path: str, number: int) -> list:
    """The file, or ``number`` files at equal distances from the folder."""
    from simmim_mm.datasets.image_folder import list_images

    if os.path.isfile(path):
        return [path]
    if not os.path.isdir(path):
        raise FileNotFoundError(f'no image or folder at {path}')
    if number < 1:
        raise FileNotFoundError(f'--num must be at least 1, got {number}')
    files = list_images(path)
    count = min(number, len(files))
    return [files[i * len(files) // count] for i in range(count)]


def draw_reconstructions(reconstructor, files: list, args: argparse.Namespace):
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
    pictures = reconstructor.reconstruct(sound, args.seed, stats)
    print('\n'.join(f'row {i}: {file}' for i, file in enumerate(sound, 1)))
    return draw_grid(pictures, args.channels, note=reconstructor.note(stats))


def draw_filled(reconstructor, file: str, args: argparse.Namespace):
    from simmim_mm.visualization.grid import compose, display_range, hatch, shrink, to_rgb

    stats = args.stats or 'visible'
    image, hole, filled = reconstructor.fill(file, args.mask, stats)
    original, filled = (x.astype(np.float32).transpose(2, 0, 1) for x in (image, filled))
    limits = display_range(original)
    shown = to_rgb(original, limits, args.channels)
    row = [shown, hatch(shown, hole), to_rgb(filled, limits, args.channels)]
    row = [shrink(picture, MAX_SIDE) for picture in row]
    return compose([row], ['original', 'masked', 'filled'], reconstructor.note(stats))


def main(args: argparse.Namespace) -> None:
    if not Path(args.checkpoint).is_file():
        raise FileNotFoundError(f'no checkpoint file {args.checkpoint}')
    files = find_images(args.images, args.num)
    if args.mask and os.path.isdir(args.images):
        raise FileNotFoundError(f'--mask belongs to one image, but {args.images} is a folder')
    if args.mask and not os.path.isfile(args.mask):
        raise FileNotFoundError(f'no mask file {args.mask}')

    import torch

    from simmim_mm.visualization.reconstructor import Reconstructor

    device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    config = load_config(args.config) if args.config else None
    reconstructor = Reconstructor.from_checkpoint(args.checkpoint, config, device)
    if any(name.startswith('neck.') for name in reconstructor.missing):
        print(
            f'warning: {args.checkpoint} holds no weights of the decoder (neck.*): it was exported '
            'or stripped, and what is drawn comes from random weights',
            file=sys.stderr,
        )
    draw = draw_filled if args.mask else draw_reconstructions
    picture = draw(reconstructor, files[0] if args.mask else files, args)
    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    picture.save(out)
    print(f'wrote {out}')


if __name__ == '__main__':
    arguments = parse_args()
    run_tool(lambda: main(arguments))
