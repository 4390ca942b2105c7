"""What ``simmim plan`` says about a step of a training, against the step itself, on the CPU.

::

    python benchmarks/plan.py FOLDER [CONFIG=IMAGES ...] [--seconds 60]

Memory is the highest resident memory of a process while it builds the model and takes three steps,
above that of the libraries; glibc is told to give back at once what is freed. Time is that of
training ``--seconds`` at the given number of images per step, against the rate that the plan
measures in a third of that at up to 16 images, both of the processor, so that other work on the
machine counts little. Prints markdown.
"""

import argparse
import os
import platform
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from simmim_mm import engine, models  # noqa: F401  registers them
from simmim_mm.catalog import load_config
from simmim_mm.compression.bench_model import peak_of
from simmim_mm.experiments.downstream import set_run
from simmim_mm.pretraining.budget import measure_footprint, measure_rate
from simmim_mm.pretraining.timing import quiet, time_steps
from simmim_mm.registry import MODELS

CASES = (
    'simmim_swin-micro-w6_1xb64-coslr-100e_folder-96px=64',
    'simmim_swin-tiny-w6_1xb64-amp-coslr-100e_folder-192px=16',
    'simmim_resnet50_1xb64-amp-coslr-100e_folder-192px=16',
    'mae_vit-base-p16_8xb512-amp-coslr-300e_in1k=16',
)


def config(name: str, folder: str, images: int) -> Config:
    cfg = load_config(name)
    set_run(cfg, folder, batch_size=images)
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False, pin_memory=False)
    return cfg


def peak(name: str, folder: str, images: int) -> int:
    """Bytes that a process takes for three steps."""
    torch.set_num_threads(1)
    cfg = config(name, folder, images)

    def train(steps: int = 3) -> None:
        with DefaultScope.overwrite_default_scope('simmim_mm'), quiet():
            model = MODELS.build(cfg.model).train()
            wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
            wrapper.initialize_count_status(model, 0, 10**9)
            for _ in range(steps):
                model.train_step(batch, optim_wrapper=wrapper)

    with DefaultScope.overwrite_default_scope('simmim_mm'):
        cfg.train_dataloader.batch_size = 1
        batch = next(iter(Runner.build_dataloader(cfg.train_dataloader, seed=0)))
        train(1)  # what libraries take and keep
        cfg.train_dataloader.batch_size = images
        batch = next(iter(Runner.build_dataloader(cfg.train_dataloader, seed=0)))
    return peak_of(train)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', help='images to train on')
    parser.add_argument('cases', nargs='*', metavar='CONFIG=IMAGES', default=CASES)
    parser.add_argument('--seconds', type=float, default=60.0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    os.environ['MALLOC_MMAP_THRESHOLD_'] = '65536'  # of the processes whose memory is measured
    print(f'PyTorch {torch.__version__}, Python {platform.python_version()}, one thread.\n')
    print('| config | images | memory, predicted | measured | off | s/step | measured | off |')
    print('|---|---|---|---|---|---|---|---|')
    for case in args.cases:
        name, images = case.split('=')[0], int(case.split('=')[1])
        cfg = config(name, args.folder, images)
        predicted = measure_footprint(cfg).at(images).total
        with ProcessPoolExecutor(1, mp_context=get_context('spawn')) as pool:
            measured = pool.submit(peak, name, args.folder, images).result()
        seconds = images / measure_rate(cfg, args.seconds / 3, time.process_time)
        took = time_steps(cfg, args.seconds, 1, time.process_time).seconds
        print(
            f'| {name} | {images} | {predicted / 2**20:.0f} MiB | {measured / 2**20:.0f} MiB '
            f'| {predicted / measured - 1:+.0%} | {seconds:.2f} | {took:.2f} '
            f'| {seconds / took - 1:+.0%} |',
            flush=True,
        )


if __name__ == '__main__':
    main()
