"""Does `simmim pretrain` keep its time, and what does it plan, on folders of many kinds?

    python benchmarks/pretrain_folders.py --minutes 1 --out work_dirs/folders

Generates 40 photographs, 20,000 small images, TIFFs of 5 channels, gray images of 12 bits in 16,
and photographs of 24 megapixels, from the samples of scikit-image, and pretrains on each. Prints
the plans, and the time that each took beside the time that was given. ``--photos`` adds a folder
of your own.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from skimage import data

SAMPLES = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket(), data.cat()]


def view(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """A random crop of a sample, resized."""
    image = SAMPLES[rng.integers(len(SAMPLES))]
    side = int(rng.integers(64, min(image.shape[:2])))
    top, left = (int(rng.integers(0, n - side + 1)) for n in image.shape[:2])
    return Image.fromarray(image[top : top + side, left : left + side]).resize(size)


def photographs(folder: Path, number: int, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for i in range(number):
        view(rng, size).save(folder / f'{i:05d}.jpg', quality=90)


def five_channels(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(200):
        rgb = np.asarray(view(rng, (160, 160)), np.float32)
        image = np.dstack([rgb, rgb.mean(2), rgb[..., 0] - rgb[..., 2]]).transpose(2, 0, 1)
        tifffile.imwrite(folder / f'{i:05d}.tif', image, photometric='minisblack')


def twelve_bits(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(200):
        gray = np.asarray(view(rng, (256, 256)).convert('L'), np.uint16)
        noise = rng.integers(0, 16, gray.shape)
        Image.fromarray((gray * 16 + noise).astype(np.uint16)).save(folder / f'{i:05d}.png')


FOLDERS = {
    '40 photographs': lambda folder: photographs(folder, 40, (500, 375)),
    '20,000 of 64 pixels': lambda folder: photographs(folder, 20_000, (64, 64)),
    '5-channel TIFF': five_channels,
    '12-bit gray': twelve_bits,
    '24 megapixels': lambda folder: photographs(folder, 30, (6000, 4000)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--minutes', type=float, default=1)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/folders'))
    parser.add_argument('--photos', type=Path, help='a folder of your own, too')
    parser.add_argument('--only', nargs='*', help='names of folders')
    args = parser.parse_args()
    folders = dict(FOLDERS)
    if args.photos:
        folders['own'] = lambda folder: None
    rows = []
    for name, make in folders.items():
        if args.only and name not in args.only:
            continue
        images = args.photos if name == 'own' else args.out / 'images' / name.replace(' ', '_')
        if not images.is_dir():
            images.mkdir(parents=True)
            make(images)
        work_dir = args.out / name.replace(' ', '_')
        print(f'\n== {name}', flush=True)
        command = [sys.executable, '-m', 'simmim_mm.cli', 'pretrain', str(images)]
        command += ['--minutes', str(args.minutes), '--out', str(work_dir)]
        start = time.time()
        code = subprocess.call(command)
        rows.append((name, time.time() - start, code))
    print(f'\n{"folder":24}{"seconds":>9}{"of":>7}{"ratio":>7}{"code":>6}')
    for name, seconds, code in rows:
        given = args.minutes * 60
        print(f'{name:24}{seconds:9.1f}{given:7.0f}{seconds / given:7.2f}{code:6}')


if __name__ == '__main__':
    main()
