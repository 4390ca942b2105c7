"""Memory of each process of a training, with DistributedDataParallel and sharded, on the CPU.

SimMIM with Swin-B at 192 pixels, window 6, AdamW and clipping, random images::

    python benchmarks/sharded.py [--processes 2] [--batch 2] [--steps 3] [--arch base]

Prints markdown: memory of the weights, gradients and optimizer that a process holds after a step,
the highest resident memory above that of the libraries, and seconds of the processor for a step.
"""

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import time

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.structures import BaseDataElement
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from simmim_mm import models  # noqa: F401  registers them
from simmim_mm.compression.bench_model import peak_of
from simmim_mm.engine.sharding import recompute_blocks, shard
from simmim_mm.engine.unwrap import local_part
from simmim_mm.registry import MODELS

SIZE, WINDOW = 192, 6
CASES = {
    'DDP': dict(),
    'sharded': dict(sharded=True),
    'DDP, activations checkpointed': dict(recompute=True),
    'sharded, activations checkpointed': dict(sharded=True, recompute=True),
    'sharded, bfloat16, activations checkpointed': dict(sharded=True, recompute=True, low=True),
}


def measure(args: argparse.Namespace, sharded=False, recompute=False, low=False) -> dict:
    """What one process takes."""
    torch.set_num_threads(1)
    distributed.init_process_group('gloo')
    stats = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
    cfg = dict(
        type='MaskedImageModel',
        data_preprocessor=dict(type='MIMDataPreprocessor', **stats),
        backbone=dict(type='MaskedSwin', arch=args.arch, img_size=SIZE, window_size=WINDOW),
        neck=dict(type='PixelShuffleDecoder'),
        head=dict(type='PixelHead'),
    )
    held, times = {}, []
    token = SIZE // 4
    mask = torch.rand(args.batch, token, token) < 0.6
    samples = [BaseDataElement(mask=m) for m in mask]
    batch = dict(inputs=list(torch.rand(args.batch, 3, SIZE, SIZE) * 255), data_samples=samples)

    def train() -> None:
        model = MODELS.build(Config(cfg)).train()
        if recompute:
            recompute_blocks(model)
        if sharded:
            shard(model, torch.bfloat16 if low else None)
        wrapped = model if sharded else DistributedDataParallel(model)
        wrapper = build_optim_wrapper(
            model,
            dict(
                type='simmim_mm.AmpOptimWrapper' if low else 'OptimWrapper',
                optimizer=dict(type='simmim_mm.FusedAdamW', lr=1e-4),
                clip_grad=dict(max_norm=5.0),
            ),
        )
        for _ in range(args.steps):
            start = time.process_time()
            with wrapper.optim_context(wrapped):
                data = model.data_preprocessor(batch, True)
                loss = sum(wrapped(**data, mode='loss').values())
            wrapper.backward(loss)
            gradients = [p.grad for p in model.parameters() if p.grad is not None]
            held['gradients'] = sum(local_part(g).numel() * g.element_size() for g in gradients)
            wrapper.step()
            wrapper.zero_grad()
            times.append(time.process_time() - start)
        held['weights'] = _bytes(model.parameters())
        states = wrapper.optimizer.state.values()
        held['optimizer'] = _bytes(v for state in states for v in state.values())

    peak = peak_of(train)
    return dict(held, peak=peak, seconds=min(times))


def _bytes(tensors) -> int:
    storages = {local_part(t).untyped_storage().data_ptr(): local_part(t) for t in tensors}
    return sum(part.untyped_storage().nbytes() for part in storages.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--processes', type=int, default=2)
    parser.add_argument('--batch', type=int, default=2, help='images of a process')
    parser.add_argument('--steps', type=int, default=3)
    parser.add_argument('--arch', default='base')
    parser.add_argument('--case', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        print(json.dumps(measure(args, **CASES[args.case])))
        distributed.destroy_process_group()
        return
    print(f'Swin-{args.arch}, {args.processes} processes of {args.batch} images. ', end='')
    print(f'PyTorch {torch.__version__}, Python {platform.python_version()}.\n')
    print(
        '| training | weights | gradients | optimizer | peak of a process | CPU seconds per step |'
    )
    print('| --- | --- | --- | --- | --- | --- |')
    for case in CASES:
        found = run(case, args.processes)
        sizes = [
            f'{found[k] / 2**20:.0f} MiB' for k in ('weights', 'gradients', 'optimizer', 'peak')
        ]
        print(f'| {case} | {" | ".join(sizes)} | {found["seconds"]:.1f} |', flush=True)


def run(case: str, processes: int) -> dict:
    """The largest numbers of all processes."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    env = dict(
        os.environ, WORLD_SIZE=f'{processes}', MASTER_ADDR='127.0.0.1', MASTER_PORT=f'{port}'
    )
    command = [sys.executable, *sys.argv, '--case', case]
    started = [
        subprocess.Popen(command, env=dict(env, RANK=f'{i}'), stdout=subprocess.PIPE, text=True)
        for i in range(processes)
    ]
    found = [json.loads(process.communicate()[0].splitlines()[-1]) for process in started]
    return {key: max(one[key] for one in found) for key in found[0]}


if __name__ == '__main__':
    main()
