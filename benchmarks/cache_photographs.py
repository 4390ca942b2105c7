#!/usr/bin/env python
"""Loading and training from a folder of 12-megapixel photographs, before and after `simmim cache`.

python benchmarks/cache_photographs.py FOLDER --images 10000    # of photographs, to make them from

The generated photographs are 4000 x 3000 JPEGs, each another crop of one of those in the folder,
with noise as of a sensor; 10,000 of them take 17 GB below --work-dir, and are kept there.
"""

import argparse
import itertools
import multiprocessing
import statistics
import sys
import time
from functools import partial
from pathlib import Path

try:
    import simmim_mm  # noqa: F401  it checks the stack, before anything else is imported
except ImportError as error:
    sys.exit(f'error: {error}')

import cv2
import numpy as np
import torch
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from simmim_mm.catalog import load_config
from simmim_mm.curation import cache_folder
from simmim_mm.datasets.image_folder import list_images

SIZE = (4000, 3000)  # width, height
CONFIG = 'simmim/simmim_swin-micro-w6_1xb64-coslr-100e_folder-96px'


def write_photograph(number: int, sources: list[str], folder: Path) -> None:
    path = folder / f'{number // 1000:02}' / f'{number:06}.jpg'
    if path.exists():
        return
    rng = np.random.default_rng(number)
    image = cv2.imread(sources[number % len(sources)])
    height, width = (round(side * rng.uniform(0.6, 1)) for side in image.shape[:2])
    y = rng.integers(image.shape[0] - height + 1)
    x = rng.integers(image.shape[1] - width + 1)
    image = cv2.resize(image[y : y + height, x : x + width], SIZE, interpolation=cv2.INTER_CUBIC)
    noise = rng.normal(0, 3, (512, 512, 3)).astype(np.int16)
    noise = np.tile(noise, (-(-SIZE[1] // 512), -(-SIZE[0] // 512), 1))[: SIZE[1], : SIZE[0]]
    image = np.clip(image + noise, 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix('.part')
    part.write_bytes(cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes())
    part.rename(path)


def config_for(folder: Path, workers: int):
    config = load_config(CONFIG)
    loader = config.train_dataloader
    loader.dataset.data_root = str(folder)
    loader.update(num_workers=workers, persistent_workers=workers > 0)
    loader.pin_memory = torch.cuda.is_available()
    return config


def images_per_second(folder: Path, workers: int, seconds: float, turns: int) -> float:
    """Of the loader alone; the first turn, in which workers start, does not count."""
    with DefaultScope.overwrite_default_scope('simmim_mm'):
        loader = Runner.build_dataloader(config_for(folder, workers).train_dataloader, seed=0)
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    speeds = []
    for _ in range(turns + 1):
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            count += len(next(batches)['inputs'])
        speeds.append(count / (time.perf_counter() - start))
    return statistics.median(speeds[1:])


def train(folder: Path, workers: int, iterations: int, work_dir: Path) -> float:
    """Images per second of a training from its first step to its last, as a user sees it."""
    config = config_for(folder, workers)
    config.train_cfg = dict(by_epoch=False, max_iters=iterations)
    config.param_scheduler = []
    config.default_hooks.checkpoint.update(by_epoch=False, interval=iterations)
    config.default_hooks.logger.interval = 10
    config.optim_wrapper.type = 'AmpOptimWrapper'
    config.optim_wrapper.dtype = 'bfloat16'
    config.work_dir = str(work_dir)
    config.log_level = 'WARNING'
    runner = Runner.from_cfg(config)
    runner.train()
    times, _ = runner.message_hub.get_scalar('train/time').data
    batch = config.train_dataloader.batch_size
    return batch / statistics.mean(times[10:])


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument('folder', type=Path, help='photographs to make large ones from')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/cache_photographs'))
    parser.add_argument('--images', type=int, default=10_000)
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--seconds', type=float, default=10, help='of each turn of the loader')
    parser.add_argument('--iterations', type=int, default=60, help='of each training')
    parser.add_argument('--generate-only', action='store_true')
    args = parser.parse_args()

    originals, copies = args.work_dir / 'originals', args.work_dir / 'cache'
    sources = list(list_images(args.folder))
    make = partial(write_photograph, sources=sources, folder=originals)
    with multiprocessing.Pool(args.workers, cv2.setNumThreads, (1,)) as pool:
        for _ in pool.imap_unordered(make, range(args.images), chunksize=8):
            pass
    if args.generate_only:
        return
    start = time.perf_counter()
    done = cache_folder(str(originals), str(copies), workers=args.workers)
    seconds = time.perf_counter() - start
    resized = sum(file.status == 'resized' for file in done)
    print(f'{resized} photographs cached in {seconds:.0f} s, {resized / seconds:.0f} images/s')

    print('| folder | GB | loading, img/s | training, img/s |')
    print('|---|---|---|---|')
    for name, folder in {'originals': originals, 'cache': copies}.items():
        size = sum(path.stat().st_size for path in folder.rglob('*.jpg')) / 1e9
        loading = images_per_second(folder, args.workers, args.seconds, turns=3)
        training = train(folder, args.workers, args.iterations, args.work_dir / f'train-{name}')
        print(f'| {name} | {size:.1f} | {loading:.0f} | {training:.0f} |', flush=True)


if __name__ == '__main__':
    main()
