#!/usr/bin/env python
"""Time and peak memory of checking a generated COCO json, and the images that it lists.

python benchmarks/coco_check.py --images 120000 --boxes 900000
"""

import argparse
import json
import multiprocessing
import os
import re
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

from simmim_mm.curation import inspect_coco

SIZE = (640, 480)
MAX_LINKS = 50_000  # to a file; file systems have a limit


def write_data(folder: Path, num_images: int, num_boxes: int, spoilt: bool) -> None:
    """A json without masks, and JPEGs of the size of photographs, most of them links."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize(SIZE, Image.Resampling.BICUBIC)
    names = [f'{i:012}.jpg' for i in range(num_images)]
    for i, name in enumerate(names):
        first = names[i - i % MAX_LINKS]
        if name == first:
            image.save(folder / name)
        else:
            os.link(folder / first, folder / name)
    starts = rng.uniform(0, 0.7, (num_boxes, 2)) * SIZE
    sides = rng.uniform(0.01, 0.3, (num_boxes, 2)) * SIZE
    boxes = np.hstack([starts, sides]).round(2).tolist()
    owners = rng.integers(0, num_images, num_boxes).tolist()
    annotations = [
        dict(id=i, image_id=owners[i], category_id=1 + i % 80, bbox=box)
        if spoilt
        else dict(id=i + 1, image_id=owners[i], category_id=1 + i % 80, bbox=box)
        | dict(area=box[2] * box[3], iscrowd=0)
        for i, box in enumerate(boxes)
    ]
    images = [
        dict(id=i, file_name=name, width=SIZE[0], height=SIZE[1]) for i, name in enumerate(names)
    ]
    categories = [dict(id=1 + i, name=f'class {i}') for i in range(80)]
    content = dict(info={}, images=images, annotations=annotations, categories=categories)
    (folder / 'data.json').write_text(json.dumps(content))


def measure(folder: str, queue) -> None:
    """In a process of its own, so that memory is this check's alone."""
    before, start, cpu = peak_memory(), time.perf_counter(), time.process_time()
    report = inspect_coco(f'{folder}/data.json', folder)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    queue.put((seconds, cpu, before, peak_memory(), len(report.problems)))


def peak_memory() -> float:
    """Of this process, in MiB; Linux."""
    status = Path('/proc/self/status').read_text()
    return int(re.findall(r'VmHWM:\s+(\d+) kB', status)[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument('--images', type=int, default=120_000)
    parser.add_argument('--boxes', type=int, default=900_000)
    args = parser.parse_args()
    print('| json | seconds | CPU seconds | MiB before | MiB peak | problems |')
    print('|' + '---|' * 6)
    for kind in ('sound', 'spoilt'):
        with tempfile.TemporaryDirectory() as folder:
            write_data(Path(folder), args.images, args.boxes, kind == 'spoilt')
            context = multiprocessing.get_context('spawn')
            queue = context.Queue()
            process = context.Process(target=measure, args=(folder, queue))
            process.start()
            seconds, cpu, before, peak, problems = queue.get()
            process.join()
        print(
            f'| {kind} | {seconds:.1f} | {cpu:.1f} | {before:.0f} | {peak:.0f} | {problems} |',
            flush=True,
        )


if __name__ == '__main__':
    main()
