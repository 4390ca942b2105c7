#!/usr/bin/env python
"""Time and peak memory of the verbs that read every image, on a folder of very many small ones.

python benchmarks/many_files.py --files 1000 100000 1000000 --verbs stats embed

A thousand images are generated, the others are hard links to them: each is opened, read and
decoded as a file of its own, but comes from the page cache. For `scan` all of them are duplicates
of a thousand. Memory is given per file above that of the smallest number of files.
"""

import argparse
import contextlib
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

import torch
from mmengine.config import Config
from scan_folder import cpu_seconds, write_images

from simmim_mm.cli import main as simmim

DISTINCT = 1000
CONFIG = """
pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizedCrop', scale=32, crop_ratio_range=(0.5, 1.0)),
    dict(type='RandomBlockMask', mask_patch_size=16, mask_ratio=0.5),
    dict(type='mmpretrain.PackInputs', algorithm_keys=['mask']),
]
default_scope = 'simmim_mm'
train_dataloader = dict(
    batch_size=64, dataset=dict(type='ImageDataset', data_root='images', pipeline=pipeline)
)
model = dict(
    type='MaskedImageModel',
    data_preprocessor=dict(type='MIMDataPreprocessor', mean=[128] * 3, std=[60] * 3),
    backbone=dict(
        type='MaskedViT',
        arch=dict(embed_dims=64, num_layers=1, num_heads=2, feedforward_channels=64),
        img_size=32,
        patch_size=16,
    ),
    neck=dict(type='PixelShuffleDecoder'),
    head=dict(type='PixelHead'),
)
"""


def link_images(folder: Path, count: int, size: int) -> None:
    """A thousand images in a folder, and links to them, a thousand in each other folder."""
    write_images(folder, min(count, DISTINCT), size, copies=0)
    for first in range(DISTINCT, count, DISTINCT):
        other = folder / f'{first // DISTINCT:04}'
        other.mkdir()
        for i in range(min(DISTINCT, count - first)):
            os.link(folder / '0000' / f'{i:07}.jpg', other / f'{first + i:07}.jpg')


def write_checkpoint(path: Path) -> None:
    """A backbone of 64 features that takes no time to speak of."""
    from simmim_mm import models  # noqa: F401  registers them
    from simmim_mm.registry import MODELS

    cfg = Config.fromstring(CONFIG, '.py')
    torch.manual_seed(0)
    state = MODELS.build(cfg.model).state_dict()
    torch.save(dict(meta=dict(cfg=cfg.pretty_text), state_dict=state), path)


def arguments(verb: str, images: str, out: Path, workers: int) -> list[str]:
    given = {
        'stats': ['stats', images],
        'scan': ['scan', images, '--out', str(out / 'scan')],
        'shard': ['shard', images, str(out / 'shards')],
        'embed': ['embed', str(out / 'tiny.pth'), images, '--out', str(out / 'features.npy')],
    }[verb]
    option = '--num-workers' if verb == 'embed' else '--workers'
    return [*given, option, str(workers)]


def measure(argv: list[str], queue: multiprocessing.Queue) -> None:
    """In a process of its own, so that memory is this measurement's alone."""
    start, cpu = time.perf_counter(), cpu_seconds()
    with open(os.devnull, 'w') as nothing, contextlib.redirect_stdout(nothing):
        simmim(argv)
    peaks = (
        resource.getrusage(x).ru_maxrss for x in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    queue.put((time.perf_counter() - start, cpu_seconds() - cpu, *(peak / 1024 for peak in peaks)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--files', type=int, nargs='+', default=[1000, 10000])
    verbs = ['stats', 'embed', 'shard', 'scan']
    parser.add_argument('--verbs', nargs='+', choices=verbs, default=verbs)
    parser.add_argument('--size', type=int, default=32, help='side of the images in pixels')
    parser.add_argument('--workers', type=int, default=1, help='processes; 0: this one')
    parser.add_argument('--out', help='folder for all of it (that of temporary files)')
    args = parser.parse_args()
    print('| verb | files | seconds | CPU seconds | MiB peak | of a worker | bytes a file |')
    print('|' + '---|' * 7, flush=True)
    least: dict[str, float] = {}
    for count in args.files:
        with tempfile.TemporaryDirectory(dir=args.out) as folder:
            out = Path(folder)
            link_images(out / 'images', count, args.size)
            write_checkpoint(out / 'tiny.pth')
            context = multiprocessing.get_context('spawn')
            for verb in args.verbs:
                queue = context.Queue()
                given = (arguments(verb, str(out / 'images'), out, args.workers), queue)
                process = context.Process(target=measure, args=given)
                process.start()
                process.join()
                seconds, cpu, peak, worker = queue.get(timeout=1)
                each = (peak - least.setdefault(verb, peak)) * 2**20 / count
                print(
                    f'| `{verb}` | {count:,} | {seconds:.1f} | {cpu:.1f} | {peak:.0f} | '
                    f'{worker:.0f} | {each:.0f} |',
                    flush=True,
                )


if __name__ == '__main__':
    main()
