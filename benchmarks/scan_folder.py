#!/usr/bin/env python
"""Time and peak memory of looking through a folder of generated images for faults and copies.

python benchmarks/scan_folder.py --files 1000 10000 100000
"""

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

try:
    import simmim_mm  # noqa: F401  it checks the stack, before anything else is imported
except ImportError as error:
    sys.exit(f'error: {error}')

import numpy as np
from PIL import Image

from simmim_mm.curation import scan_folder, write_csv


def write_images(folder: Path, count: int, size: int, copies: float = 0.02) -> int:
    """Smooth noise as JPEG, a share of it twice; returns the number of copies."""
    rng = np.random.default_rng(0)
    number, image = 0, None
    for i in range(count):
        path = folder / f'{i // 1000:04}' / f'{i:07}.jpg'
        path.parent.mkdir(parents=True, exist_ok=True)
        if i and rng.random() < copies:
            image.save(path, quality=70)
            number += 1
            continue
        noise = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        image = Image.fromarray(noise).resize((size, size), Image.BICUBIC)
        image.save(path, quality=90)
    return number


def cpu_seconds() -> float:
    """Of this process and of workers that have ended."""
    return sum(os.times()[:4])


def measure(count: int, size: int, workers: int, queue) -> None:
    """In a process of its own, so that memory is this scan's alone."""
    with tempfile.TemporaryDirectory() as folder:
        copies = write_images(Path(folder), count, size)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start, cpu = time.perf_counter(), cpu_seconds()
        scan = scan_folder(folder, workers=workers)
        seconds, cpu = time.perf_counter() - start, cpu_seconds() - cpu
        write_csv(scan, Path(folder) / 'report.csv')
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = scan.counts()['duplicate'] + scan.counts()['near_duplicate']
    queue.put((seconds, cpu, before / 1024, after / 1024, copies, found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--files', type=int, nargs='+', default=[1000, 10000])
    parser.add_argument('--size', type=int, default=64, help='side of the images in pixels')
    parser.add_argument('--workers', type=int, default=0, help='processes; 0: this one')
    args = parser.parse_args()
    print('| files | seconds | CPU seconds | MiB before | MiB peak | copies | found |')
    print('|' + '---|' * 7)
    for count in args.files:
        context = multiprocessing.get_context('spawn')
        queue = context.Queue()
        process = context.Process(target=measure, args=(count, args.size, args.workers, queue))
        process.start()
        seconds, cpu, before, peak, copies, found = queue.get()
        process.join()
        print(
            f'| {count} | {seconds:.1f} | {cpu:.1f} | {before:.0f} | {peak:.0f} | {copies} | '
            f'{found} |',
            flush=True,
        )


if __name__ == '__main__':
    main()
