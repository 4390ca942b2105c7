"""Draw images under each kind of mask: ``simmim mask-samples IMAGE_OR_FOLDER``."""

import argparse
import os
from typing import TYPE_CHECKING, Any

from simmim_mm.cli.common import add_transforms, parse_transforms

if TYPE_CHECKING:
    from PIL.Image import Image

HELP = 'draw images under each kind of mask'
DESCRIPTION = """
Draw images under each kind of mask, as a PNG grid: a row for each image; columns for the image, its
foreground map, and each mask.
"""

# Caption and transform. All have a ratio near 0.6 where they have a choice.
MASKS = {
    'random 32 px': 'RandomBlockMask(mask_patch_size=32, mask_ratio=0.6)',
    'random 16 px': 'RandomBlockMask(mask_patch_size=16, mask_ratio=0.6)',
    'random tokens': 'RandomBlockMask(mask_patch_size=4, mask_ratio=0.6)',
    'uniform 16 px': 'UniformMask(mask_patch_size=16)',
    'square': 'SquareMask(mask_patch_size=4, mask_ratio=0.44)',
    'rectangle': 'RectangleMask(mask_patch_size=4, mask_ratio=0.44)',
    '4 rectangles': 'RectangleMask(mask_patch_size=4, mask_ratio=0.44, num_rectangles=4)',
    'block-wise 16 px': 'BlockWiseMask(mask_patch_size=16, mask_ratio=0.6)',
    'foreground first': 'SemanticMask(mask_patch_size=16, mask_ratio=0.4)',
    'background first': 'SemanticMask(mask_patch_size=16, mask_ratio=0.4, foreground_ratio=0.0)',
    'half of foreground': 'SemanticMask(mask_patch_size=16, mask_ratio=0.4, foreground_ratio=0.5)',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('images', help='an image, or a folder of images')
    parser.add_argument('--out', default='mask_samples.png', help='the file to write')
    parser.add_argument('--num', type=int, default=4, help='images to take from a folder')
    parser.add_argument(
        '--foreground',
        type=parse_transforms,
        default='SaliencyForeground()',
        metavar='TRANSFORM',
        help='where the foreground map comes from (default: an estimate), for example '
        "\"LoadForeground(folders=('images', 'labels'))\"",
    )
    text = 'a mask transform to show, with its arguments, in place of all; may be repeated'
    add_transforms(parser, '--mask', text)
    parser.add_argument('--size', type=int, default=192, help='side of the images in pixels')
    parser.add_argument('--seed', type=int, default=0)


def draw(args: argparse.Namespace) -> 'Image':
    import numpy as np
    from mmengine.dataset import Compose
    from mmengine.registry import init_default_scope

    from simmim_mm.datasets import seeded_rng
    from simmim_mm.datasets.image_folder import list_images
    from simmim_mm.visualization.grid import compose, hatch

    if os.path.isfile(args.images):
        files = [args.images]
    else:
        files = list_images(args.images)[: max(args.num, 1)]
    init_default_scope('simmim_mm')
    load = Compose(
        [
            dict(type='LoadImage'),
            *args.foreground[1],
            dict(type='ResizeToCover', size=args.size),
            dict(type='mmpretrain.CenterCrop', crop_size=args.size),
        ]
    )
    chosen = args.mask or [(caption, parse_transforms(text)[1]) for caption, text in MASKS.items()]
    masks: dict[str, Any] = {caption: Compose(steps) for caption, steps in chosen}

    rows = []
    for i, file in enumerate(files):
        results: Any = load(dict(img_path=file, sample_idx=i))
        image, foreground = results['img'], results['gt_seg_map']
        row = [image, np.repeat(foreground[..., None] * np.uint8(255), 3, -1)]
        for transform in masks.values():
            with seeded_rng(args.seed + i):
                mask = transform(dict(results))['mask']
            factors = [side // tokens for side, tokens in zip(image.shape, mask.shape)]
            row.append(hatch(image, mask.repeat(factors[0], 0).repeat(factors[1], 1)))
        rows.append(row)
    return compose(rows, ['image', 'foreground', *masks])


def run(args: argparse.Namespace) -> None:
    draw(args).save(args.out)
    print(f'wrote {args.out}')
