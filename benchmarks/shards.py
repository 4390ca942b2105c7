"""A hundred thousand generated images as files and as shards: images/s, memory, open files.

Usage: python benchmarks/shards.py FOLDER [--images 100000] [--cold]

FOLDER gets the files and the shards (about 1 GB each), once; a second call uses what is there.
Each way of reading runs in a process of its own: one epoch, or ``--seconds`` of it, in the order of
training (files at random, shards by shard). ``--cold`` drops the system's disk cache before each,
which needs root. ``read`` takes the bytes of the images, ``load`` also decodes them. On a machine
with other work, look at the time of a core.

``--warm`` reads files and shards in turn in one process, after a first epoch that fills the cache,
500 images at a time: what else the machine does meets both alike.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

CHUNK = 1000  # images in a folder, and in a shard


def generate(folder: Path, number: int, side: int) -> None:
    """Images of smooth noise, which compress as photographs do."""
    import cv2

    rng = np.random.default_rng(0)
    noise = rng.normal(size=(side * 4, side * 4, 3)).astype(np.float32)
    noise = sum(cv2.GaussianBlur(noise, (0, 0), s) * s for s in (0.5, 1, 3, 9))
    noise = (128 + 48 * noise / noise.std()).clip(0, 255).astype(np.uint8)
    for i in range(number):
        path = folder / f'{i // CHUNK:04d}' / f'{i:06d}.jpg'
        path.parent.mkdir(parents=True, exist_ok=True)
        x, y = rng.integers(0, side * 3, 2)
        ok, data = cv2.imencode('.jpg', noise[y : y + side, x : x + side])
        assert ok
        path.write_bytes(data)


def cpu_seconds() -> float:
    """Of this process and its finished children, in user and in kernel mode."""
    times = os.times()
    return sum(times[:4])


def read(results: dict) -> dict:
    """The bytes of an image, as a transform."""
    from mmengine import fileio

    return dict(size=len(fileio.get(results['img_path'])))


def measure(root: str, kind: str, workers: int, seconds: float) -> None:
    """One epoch in the order of training; prints a row."""
    from torch.utils.data import DataLoader

    from simmim_mm.datasets import ImageDataset, ReproducibleSampler
    from simmim_mm.datasets.transforms.loading import LoadImage

    start = time.perf_counter()
    data = ImageDataset(root, pipeline=[LoadImage() if kind == 'load' else read])
    sampler = ReproducibleSampler(data, seed=0)
    loader = DataLoader(data, 64, sampler=sampler, num_workers=workers, collate_fn=len)
    listing = time.perf_counter() - start
    count, open_files, start, used = 0, 0, time.perf_counter(), cpu_seconds()
    for size in loader:
        count += size
        if count % 640 == 0:
            open_files = max(open_files, len(os.listdir('/proc/self/fd')))
        if time.perf_counter() - start > seconds:
            break
    rate = count / (time.perf_counter() - start)
    del loader  # so that what its workers have used is counted
    used = (cpu_seconds() - used) / count
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f'{Path(root).name:7} {kind} {workers} workers: {rate:8.0f} images/s over {count}, '
        f'{used * 1e6:.0f} us of a core each, listed in {listing:.1f} s, {peak:.0f} MB, '
        f'{open_files} open files',
        flush=True,
    )


def measure_warm(roots: list[str], kind: str, epochs: int) -> None:
    """Epochs in the order of training, files and shards in turn; prints a row."""
    from itertools import islice

    from simmim_mm.datasets import ImageDataset, ReproducibleSampler
    from simmim_mm.datasets.transforms.loading import LoadImage

    step = LoadImage() if kind == 'load' else read
    data = [ImageDataset(root, pipeline=[step]) for root in roots]
    samplers = [ReproducibleSampler(images, seed=0) for images in data]
    rows = []
    for epoch in range(epochs + 1):
        orders = []
        for sampler in samplers:
            sampler.set_epoch(epoch)
            orders.append(iter(sampler))
        for number in range(len(data[0]) // 500):
            row = np.zeros((2, 2))
            for i in (0, 1) if number % 2 else (1, 0):
                start, used = time.perf_counter(), time.process_time()
                for index in islice(orders[i], 500):
                    data[i][index]
                row[i] = time.perf_counter() - start, time.process_time() - used
            if epoch:
                rows.append(row / 500 * 1e6)
    found = np.array(rows)  # (rounds, files or shards, elapsed or of a core) in us an image
    text = [f'{kind}, {epochs} epochs of {len(data[0])} images:']
    for name, times in zip(('elapsed', 'of a core'), found.transpose(2, 1, 0)):
        ratio = times[1] / times[0]
        text.append(
            f'{name} {times[0].mean():.1f} and {times[1].mean():.1f} us an image, '
            f'{times[1].sum() / times[0].sum():.3f} times, median {np.median(ratio):.3f};'
        )
    print(*text, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path)
    parser.add_argument('--images', type=int, default=100_000)
    parser.add_argument('--side', type=int, default=96)
    parser.add_argument('--seconds', type=float, default=60)
    parser.add_argument('--workers', type=int, nargs='+', default=[0, 2])
    parser.add_argument('--kinds', nargs='+', default=['read', 'load'])
    parser.add_argument('--repeat', type=int, default=3)
    parser.add_argument('--cold', action='store_true')
    parser.add_argument('--warm', type=int, metavar='EPOCHS')
    parser.add_argument('--measure', nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        root, kind, workers, seconds = args.measure
        measure(root, kind, int(workers), float(seconds))
        return
    files, shards = args.folder / 'files', args.folder / 'shards'
    if not shards.exists():
        from simmim_mm.curation import shard_folder

        generate(files, args.images, args.side)
        start = time.perf_counter()
        written = shard_folder(str(files), str(shards), CHUNK, workers=2)
        size = sum(shard.bytes for shard in written.shards)
        print(f'wrote {size / 1e9:.2f} GB of shards in {time.perf_counter() - start:.0f} s')
    for kind in args.kinds if args.warm else ():
        measure_warm([str(files), str(shards)], kind, args.warm)
    for kind in () if args.warm else args.kinds:
        for workers in args.workers:
            for _ in range(args.repeat):
                for root in (files, shards):
                    if args.cold:
                        os.sync()
                        Path('/proc/sys/vm/drop_caches').write_text('3')
                    what = [str(root), kind, str(workers), str(args.seconds)]
                    subprocess.run([sys.executable, __file__, args.folder, '--measure', *what])


if __name__ == '__main__':
    main()
