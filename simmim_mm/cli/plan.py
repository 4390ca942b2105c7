"""What a training will take: ``simmim plan CONFIG --gpus 8 --images 10_000_000``."""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from simmim_mm.cli.common import add_cfg_options, load_config, merge_options, say

if TYPE_CHECKING:
    from mmengine.config import Config

    from simmim_mm.pretraining.budget import Budget

HELP = 'memory, batch size, days and disk that a pretraining will take'
DESCRIPTION = """
Estimate what a pretraining takes before it is started: memory of a GPU by part, the batch that
fits, days and disk. Memory is that of two steps of few images on the CPU, extrapolated; speed is
measured on this machine, unless --images-per-second says it. To choose settings for a folder of
images, use `simmim pretrain`.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='config file, or its name')
    parser.add_argument('--gpus', type=int, default=1, metavar='N', help='processes (%(default)s)')
    parser.add_argument('--images', type=int, metavar='N', help='of an epoch (those of --data)')
    parser.add_argument(
        '--gpu-memory', type=float, metavar='GB', help='of each GPU (of the one here)'
    )
    text = 'that one GPU trains, if it is not this machine that is to be measured'
    parser.add_argument('--images-per-second', type=float, metavar='RATE', help=text)
    text = 'images to measure with (generated ones of 500x375 pixels)'
    parser.add_argument('--data', metavar='FOLDER', help=text)
    parser.add_argument('--epochs', type=int, metavar='N', help='length of the training')
    parser.add_argument('--batch-size', type=int, metavar='N', help='images per process and step')
    text = 'see `simmim train`'
    parser.add_argument('--amp', action='store_true', help=text)
    parser.add_argument('--sharded', action='store_true', help=text)
    parser.add_argument('--checkpoint-activations', action='store_true', help=text)
    text = 'seconds that are measured (%(default)s)'
    parser.add_argument('--seconds', type=float, default=10.0, metavar='S', help=text)
    add_cfg_options(parser)


def run(args: argparse.Namespace) -> None:
    from simmim_mm.cli.train import use_amp
    from simmim_mm.datasets.image_folder import list_images
    from simmim_mm.engine.launch import adapt_dataloaders
    from simmim_mm.experiments.downstream import set_run
    from simmim_mm.pretraining.budget import (
        IMAGE_BYTES,
        make_budget,
        measure_footprint,
        measure_rate,
        require_pretraining,
    )
    from simmim_mm.pretraining.facts import Machine

    for name in ('gpus', 'images', 'gpu_memory', 'images_per_second', 'seconds'):
        value = getattr(args, name)
        if value is not None and not value > 0:
            raise ValueError(f'--{name.replace("_", "-")} must be above 0, got {value}')
    cfg = load_config(args.config)
    merge_options(cfg, args.cfg_options)
    require_pretraining(cfg, args.config)
    files = list_images(args.data) if args.data else []
    images = args.images or len(files)
    if not images:
        raise ValueError('--images N: of how many images is an epoch? (--data counts its own)')
    cfg.sharded = args.sharded or bool(cfg.get('sharded'))
    cfg.checkpoint_activations = args.checkpoint_activations or cfg.get('checkpoint_activations')
    if args.amp:
        use_amp(cfg)
    adapt_dataloaders(cfg)
    with _folder(args.data) as folder:
        set_run(cfg, folder, args.epochs, None, args.batch_size)
        say(f'{args.config}: computing two steps of few images ...')
        footprint = measure_footprint(cfg)
        rate = args.images_per_second or measure_rate(cfg, args.seconds)
    memory = args.gpu_memory * 1e9 if args.gpu_memory else Machine.here().gpu_memory or None
    size = sum(map(os.path.getsize, files)) / len(files) if files else IMAGE_BYTES
    budget = make_budget(cfg, footprint, rate, images, args.gpus, memory, size)
    for line in _lines(cfg, args, budget, images, memory):
        say(line)


@contextmanager
def _folder(data: str | None) -> Iterator[str]:
    """The folder of images, or one of some that are generated."""
    from tempfile import TemporaryDirectory

    import numpy as np
    from PIL import Image

    if data:
        yield data
        return
    rng = np.random.default_rng(0)
    with TemporaryDirectory() as folder:
        for number in range(64):
            pixels = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
            image = Image.fromarray(pixels).resize((500, 375), Image.Resampling.BICUBIC)
            image.save(f'{folder}/{number:02}.jpg', quality=90)
        yield folder


def _lines(
    cfg: 'Config', args: argparse.Namespace, budget: 'Budget', images: int, memory: float | None
) -> list[str]:
    from simmim_mm.experiments.report import text_table

    batch = cfg.train_dataloader.batch_size
    steps = cfg.optim_wrapper.get('accumulative_counts', 1)
    where = f'{args.gpus} processes' if args.gpus > 1 else '1 process'
    how = ', sharded,' if cfg.sharded and args.gpus > 1 else ''
    parts = budget.memory._asdict()
    rows = [{'part': name, 'GB': value / 1e9} for name, value in parts.items() if value]
    rows.append({'part': 'sum', 'GB': budget.memory.total / 1e9})
    lines = [
        f'Memory of each of {where}{how} at {batch} images, without what CUDA itself takes:',
        text_table(rows, '{:.2f}'),
    ]
    if budget.fitting is not None and memory:
        lines.append(
            f'Fits {memory / 1e9:.0f} GB, a tenth left free: {budget.fitting} images per GPU'
            + ('' if budget.fitting >= batch else f'; {_advice(cfg, budget)}')
        )
    source = 'as given' if args.images_per_second else 'as measured on this machine'
    epochs, rate = cfg.train_cfg.get('max_epochs'), budget.rate / args.gpus
    length = f'{cfg.train_cfg.get("max_iters", 0):,} iterations'
    if epochs:
        length = f'{epochs} epochs of {images:,} images'
    lines += [
        f'Batch of a step: {batch * args.gpus * steps:,} images',
        f'Speed: {budget.rate:,.0f} images per second, {rate:,.1f} of each process, {source}; '
        'several are taken to scale without loss',
        f'Time: {budget.seconds / 86400:,.1f} days, {budget.seconds / 3600:,.1f} hours, '
        f'for {length}',
        f'Disk: {budget.kept} checkpoints of {budget.checkpoint / 1e9:.2f} GB; images or shards '
        f'{budget.data / 1e9:,.0f} GB',
    ]
    return lines


def _advice(cfg: 'Config', budget: 'Budget') -> str:
    if not budget.fitting:
        return 'not one: --sharded, --checkpoint-activations or a smaller model'
    batch = cfg.train_dataloader.batch_size
    parts = -(-batch // budget.fitting)
    while batch % parts:
        parts += 1
    return (
        f'--batch-size {batch // parts} with accumulative_counts={parts} in optim_wrapper makes '
        'the same steps'
    )
