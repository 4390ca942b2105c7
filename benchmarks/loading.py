#!/usr/bin/env python
"""Images per second of the loaders of SimMIM and MAE, beside mmpretrain's, on the same JPEGs.

python benchmarks/loading.py FOLDER    # of photographs, copied at 500 x 375 and at 2000 x 1500

Both build the data loaders of their own recipes, with one worker, and take turns. The last column
says how far the crops are from those of the authors' code, which decodes and resizes by Pillow.
"""

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from pathlib import Path

try:
    import simmim_mm  # noqa: F401  it checks the stack, before anything else is imported
except ImportError as error:
    sys.exit(f'error: {error}')

import mmpretrain
import numpy as np
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from PIL import Image

from simmim_mm.catalog import load_config
from simmim_mm.datasets.image_folder import list_images
from simmim_mm.datasets.transforms import LoadImage, RandomResizedCrop

SIZES = {'500 x 375': (500, 375), '2000 x 1500': (2000, 1500)}
THEIRS = Path(mmpretrain.__file__).parent / '.mim/configs/_base_/datasets'
RECIPES = {
    'SimMIM': ('simmim/simmim_swin-base-w6_16xb128-amp-steplr-800e_in1k-192px', '256_simmim_192'),
    'MAE': ('mae/mae_vit-base-p16_8xb512-amp-coslr-800e_in1k', '512_mae'),
}


def loaders(recipe: str, folder: Path, repeat: int) -> dict:
    """Of both packages: one worker, batches of 64, the folder ``repeat`` times an epoch."""
    ours, theirs = RECIPES[recipe]
    configs = {
        'simmim_mm': load_config(ours),
        'mmpretrain': Config.fromfile(THEIRS / f'imagenet_bs{theirs}.py'),
    }
    built = {}
    for scope, config in configs.items():
        loader = config.train_dataloader
        loader.update(batch_size=64, num_workers=1, persistent_workers=False)
        if scope == 'simmim_mm':
            loader.dataset.data_root = str(folder)
        else:
            loader.dataset = dict(
                type='CustomDataset', data_root=str(folder), pipeline=loader.dataset.pipeline
            )
        with DefaultScope.overwrite_default_scope(scope):
            loader.dataset = dict(type='RepeatDataset', dataset=loader.dataset, times=repeat)
            built[scope] = Runner.build_dataloader(loader, seed=0)
    return built


def images_per_second(loader, seconds: float) -> float:
    """Of a worker at work: the batches that it prefetched before are not counted."""
    batches = iter(loader)
    for _ in range(loader.prefetch_factor):
        next(batches)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        count += len(next(batches)['inputs'])
    return count / (time.perf_counter() - start)


def difference(recipe: str, files: list[str]) -> float:
    """Mean absolute difference to Pillow's crops of the same draws, in levels of 255."""
    config = load_config(RECIPES[recipe][0]).train_dataloader.dataset.pipeline[1]
    arguments = {k: v for k, v in config.items() if k != 'type'}
    crops = {b: RandomResizedCrop(**arguments, backend=b) for b in ('auto', 'pillow')}
    errors = []
    for i, file in enumerate(files):
        pixels = {}
        for backend, crop in crops.items():
            load = LoadImage()
            load.defers = backend == 'auto'
            np.random.seed(i)
            pixels[backend] = crop(load(dict(img_path=file)))['img'].astype(float)
        errors.append(np.abs(pixels['auto'] - pixels['pillow']).mean())
    return statistics.mean(errors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path, help='photographs')
    parser.add_argument('--files', type=int, default=64, help='copies of each size')
    parser.add_argument('--seconds', type=float, default=6, help='of each turn')
    parser.add_argument('--turns', type=int, default=5)
    args = parser.parse_args()
    print('| size | recipe | mmpretrain, img/s | simmim_mm, img/s | ratio | difference |')
    print('|---|---|---|---|---|---|')
    for name, size in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            for i, path in enumerate(itertools.islice(list_images(args.folder), args.files)):
                image = Image.open(path).convert('RGB').resize(size, Image.Resampling.BICUBIC)
                (Path(folder) / 'a').mkdir(exist_ok=True)
                image.save(f'{folder}/a/{i:04}.jpg', quality=90)
            for recipe in RECIPES:
                built = loaders(recipe, Path(folder), repeat=1000)
                speeds = {k: [] for k in built}
                for turn in range(args.turns + 1):
                    for k, loader in built.items():
                        speed = images_per_second(loader, args.seconds)
                        if turn:
                            speeds[k].append(speed)
                theirs, ours = speeds['mmpretrain'], speeds['simmim_mm']
                ratio = statistics.median(a / b for a, b in zip(ours, theirs))
                files = list(itertools.islice(list_images(folder), 40))
                print(
                    f'| {name} | {recipe} | {statistics.median(theirs):.0f} | '
                    f'{statistics.median(ours):.0f} | {ratio:.2f} | '
                    f'{difference(recipe, files):.2f} |',
                    flush=True,
                )


if __name__ == '__main__':
    main()
