"""A training step of sparse SimMIM beside one of SimMIM.

Swin-T at 192 pixels, window 6, blocks of 32 pixels at ratio 0.75, a new mask for every image and
step. Loss, gradients and AdamW, as a runner does them. The two take turns in one process, so that a
busy machine slows both; peak memory is taken in a process of its own for each::

    python benchmarks/sparse_simmim.py [--batch 8] [--steps 15] [--device cuda] [--amp] [--v2]

Prints markdown.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from mmengine.optim import OptimWrapper
from mmengine.structures import BaseDataElement
from step import OURS, SIZE, machine, resident

from simmim_mm.engine.amp import AmpOptimWrapper
from simmim_mm.engine.optimizers import FusedAdamW
from simmim_mm.registry import MODELS

DECODERS = dict(
    token=dict(type='PixelShuffleDecoder'),
    gather=dict(
        type='TransformerDecoder', decoder_embed_dim=512, decoder_depth=1, decoder_num_heads=16
    ),
)
NAMES = dict(token='SimMIM', gather='sparse SimMIM')
BLOCKS, MASKED = (SIZE // 32) ** 2, 27


def step_function(mode: str, args: argparse.Namespace) -> Callable[[], float]:
    """A function that makes one training step and returns how long it took, in seconds."""
    torch.manual_seed(0)
    backbone = dict(OURS['backbone'], type=f'MaskedSwin{"V2" * args.v2}', mask_mode=mode)
    model = MODELS.build(dict(OURS, backbone=backbone, neck=DECODERS[mode]))
    model = model.to(args.device).train()
    optimizer = FusedAdamW(model.parameters(), lr=1e-4, weight_decay=0.05)
    wrapper = (AmpOptimWrapper if args.amp else OptimWrapper)(optimizer=optimizer)
    images = torch.randn(args.batch, 3, SIZE, SIZE).to(args.device)

    def step() -> float:
        order = torch.rand(args.batch, BLOCKS).argsort(1).argsort(1)
        masks = (order < MASKED).view(-1, SIZE // 32, SIZE // 32)
        start = time.perf_counter()
        with wrapper.optim_context(model):
            loss = model.loss(images, [BaseDataElement(mask=mask) for mask in masks])['loss']
        wrapper.update_params(loss)
        loss.item()  # waits for a GPU
        if args.device != 'cpu':
            torch.cuda.synchronize()
        return time.perf_counter() - start

    return step


def peak_memory(mode: str, args: argparse.Namespace) -> float:
    """MiB that two steps take beside the model, at their peak; of this process, a new one."""
    step = step_function(mode, args)
    if args.device == 'cpu':
        start = resident('VmRSS')
        for _ in range(2):
            step()
        return resident('VmHWM') - start
    start = torch.cuda.memory_allocated() / 2**20
    torch.cuda.reset_peak_memory_stats()
    for _ in range(2):
        step()
    return torch.cuda.max_memory_allocated() / 2**20 - start


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--steps', type=int, default=15, help='timed steps of each')
    parser.add_argument('--warm-up', type=int, default=3)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    parser.add_argument('--amp', action='store_true', help='mixed precision, both')
    parser.add_argument('--v2', action='store_true', help='Swin v2')
    parser.add_argument('--memory-of', choices=NAMES, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    if args.memory_of:
        print(json.dumps(peak_memory(args.memory_of, args)))
        return

    memory = {}
    for mode in NAMES:
        command = [sys.executable, '-W', 'ignore', __file__, '--memory-of', mode]
        again = subprocess.run([*command, *(argv or sys.argv[1:])], capture_output=True, text=True)
        if again.returncode:
            sys.exit(again.stderr)
        memory[mode] = json.loads(again.stdout.splitlines()[-1])
    steps = {mode: step_function(mode, args) for mode in NAMES}
    seconds: dict[str, list[float]] = {mode: [] for mode in NAMES}
    for i in range(args.warm_up + args.steps):
        for mode, step in steps.items():
            elapsed = step()
            if i >= args.warm_up:
                seconds[mode].append(elapsed)

    precision = 'mixed precision' if args.amp else 'float32'
    print(
        f'Swin{" v2" * args.v2}-T, batch {args.batch}, {precision}, median of {args.steps} steps '
        f'taken in turn. {machine(args)}.\n\n'
        '| | step, ms | fastest, ms | times as fast | peak memory, MiB | ratio |\n'
        '|---|---|---|---|---|---|'
    )
    for mode, name in NAMES.items():
        # in pairs: what slowed one step slowed its neighbor
        faster = statistics.median(a / b for a, b in zip(seconds['token'], seconds[mode]))
        print(
            f'| {name} | {statistics.median(seconds[mode]) * 1e3:.0f} '
            f'| {min(seconds[mode]) * 1e3:.0f} | {faster:.2f} | {memory[mode]:.0f} '
            f'| {memory[mode] / memory["token"]:.2f} |'
        )


if __name__ == '__main__':
    main()
