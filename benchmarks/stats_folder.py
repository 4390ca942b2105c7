#!/usr/bin/env python
"""Time and peak memory of `simmim stats` on a folder of very many small images.

python benchmarks/stats_folder.py --files 1000 100000 1000000

A thousand images are generated, the others are hard links to them: each is opened, read and
decoded as a file of its own, but comes from the page cache.
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

from scan_folder import cpu_seconds, write_images

from simmim_mm.curation.stats import folder_stats

DISTINCT = 1000


def link_images(folder: Path, count: int, size: int) -> None:
    """A thousand images in a folder, and links to them, a thousand in each other folder."""
    write_images(folder, min(count, DISTINCT), size, copies=0)
    for first in range(DISTINCT, count, DISTINCT):
        other = folder / f'{first // DISTINCT:04}'
        other.mkdir()
        for i in range(min(DISTINCT, count - first)):
            os.link(folder / '0000' / f'{i:07}.jpg', other / f'{first + i:07}.jpg')


def measure(folder: Path, count: int, workers: int, queue: multiprocessing.Queue) -> None:
    """In a process of its own, so that memory is this measurement's alone."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, cpu = time.perf_counter(), cpu_seconds()
    stats = folder_stats(folder, workers=workers)
    seconds, cpu = time.perf_counter() - start, cpu_seconds() - cpu
    assert len(stats.sizes) == count
    peaks = (
        resource.getrusage(x).ru_maxrss for x in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    queue.put((seconds, cpu, before / 1024, *(peak / 1024 for peak in peaks), stats.mean))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--files', type=int, nargs='+', default=[1000, 10000])
    parser.add_argument('--size', type=int, default=32, help='side of the images in pixels')
    parser.add_argument('--workers', type=int, default=2, help='processes; 0: this one')
    parser.add_argument('--out', help='folder for the images (that of temporary files)')
    args = parser.parse_args()
    print('| files | seconds | CPU seconds | MiB before | MiB peak | MiB peak of a worker | mean |')
    print('|' + '---|' * 7)
    for count in args.files:
        with tempfile.TemporaryDirectory(dir=args.out) as folder:
            link_images(Path(folder), count, args.size)
            context = multiprocessing.get_context('spawn')
            queue = context.Queue()
            given = (Path(folder), count, args.workers, queue)
            process = context.Process(target=measure, args=given)
            process.start()
            seconds, cpu, before, peak, worker, mean = queue.get()
            process.join()
        means = ' '.join(f'{x:.6f}' for x in mean)
        print(
            f'| {count:,} | {seconds:.1f} | {cpu:.1f} | {before:.0f} | {peak:.0f} | {worker:.0f} | '
            f'{means} |',
            flush=True,
        )


if __name__ == '__main__':
    main()
