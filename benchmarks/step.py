"""A step of SimMIM or MAE, ours against mmpretrain's, on the same weights, images and masks.

SimMIM: Swin-T at 192 pixels, window 6, blocks of 32 pixels at ratio 0.6, no drop path. MAE: ViT-B
at 224 pixels, ratio 0.75. Loss, gradients and AdamW, as a runner does them. The contenders take
turns in one process, so that a busy machine slows all of them; peak memory is taken in a process of
its own for each::

    python benchmarks/step.py [--method mae] [--batch 8] [--steps 15] [--device cuda] [--no-amp]
    python benchmarks/step.py --check    # only whether the losses agree

Prints markdown.
"""

import argparse
import json
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import mmpretrain
import torch
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.structures import BaseDataElement
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from torch import Tensor

from simmim_mm.engine.amp import AmpOptimWrapper
from simmim_mm.engine.optimizers import FusedAdamW
from simmim_mm.processor import cpu_has_bfloat16
from simmim_mm.registry import MODELS

SIZE, WINDOW = 192, 6
MAE_SIZE, PATCHES = 224, 14
CONTENDERS = {
    'mmpretrain, float32': 'theirs',
    'simmim_mm, float32': 'ours',
    'mmpretrain, torch.autocast': 'their_amp',  # mmengine's AmpOptimWrapper takes no CPU
    'simmim_mm, --amp': 'amp',
}
TOLERANCE = 1e-5
SEED = 2  # of each step
STATS = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])

OURS = dict(
    type='MaskedImageModel',
    data_preprocessor=dict(type='MIMDataPreprocessor', **STATS),
    backbone=dict(type='MaskedSwin', arch='tiny', img_size=SIZE, window_size=WINDOW),
    neck=dict(type='PixelShuffleDecoder', in_channels=768, stride=32),
    head=dict(type='PixelHead', loss=dict(type='MaskedPixelLoss', criterion='l1')),
)
THEIRS = dict(
    type='mmpretrain.SimMIM',
    data_preprocessor=dict(type='mmpretrain.SelfSupDataPreprocessor', **STATS),
    backbone=dict(
        type='mmpretrain.SimMIMSwinTransformer',
        arch='tiny',
        img_size=SIZE,
        drop_path_rate=0.0,
        stage_cfgs=dict(block_cfgs=dict(window_size=WINDOW)),
    ),
    neck=dict(type='mmpretrain.SimMIMLinearDecoder', in_channels=768, encoder_stride=32),
    head=dict(
        type='mmpretrain.SimMIMHead',
        patch_size=4,
        loss=dict(type='mmpretrain.PixelReconstructionLoss', criterion='L1', channel=3),
    ),
)

OUR_MAE = dict(
    type='MaskedImageModel',
    data_preprocessor=dict(type='MIMDataPreprocessor', **STATS),
    backbone=dict(type='MaskedViT', arch='b', img_size=MAE_SIZE, mask_mode='gather'),
    neck=dict(type='TransformerDecoder'),
    target=[dict(type='NormPix')],
    head=dict(type='PixelHead', loss=dict(type='MaskedPixelLoss', criterion='l2')),
)
THEIR_MAE = dict(
    type='mmpretrain.MAE',
    data_preprocessor=dict(type='mmpretrain.SelfSupDataPreprocessor', **STATS),
    backbone=dict(type='mmpretrain.MAEViT', arch='b', img_size=MAE_SIZE, mask_ratio=0.75),
    neck=dict(type='mmpretrain.MAEPretrainDecoder', embed_dim=768),
    head=dict(
        type='mmpretrain.MAEPretrainHead',
        norm_pix=True,
        loss=dict(type='mmpretrain.PixelReconstructionLoss', criterion='L2'),
    ),
)
MODELS_OF = dict(simmim=(OURS, THEIRS), mae=(OUR_MAE, THEIR_MAE))


def build(contender: str, args: argparse.Namespace) -> tuple[BaseModel, OptimWrapper]:
    """Model and optimizer of a contender; all of them start from the same weights."""
    MMLogger.get_current_instance().setLevel('ERROR')  # init_weights lists every parameter
    torch.manual_seed(0)
    ours, theirs = MODELS_OF[args.method]
    is_theirs = contender.startswith('their')
    model = MMPRETRAIN_MODELS.build(theirs) if is_theirs else MODELS.build(ours)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            if 'norm' not in name:
                torch.nn.init.trunc_normal_(p, std=0.02)
    model = model.to(args.device).train()
    adamw = torch.optim.AdamW if is_theirs else FusedAdamW  # as the configs have them
    optimizer = adamw(model.parameters(), lr=1e-4, weight_decay=0.05)
    wrapper = AmpOptimWrapper if contender == 'amp' else OptimWrapper
    return model, wrapper(optimizer=optimizer)


def batch(size: int, device: str, method: str) -> tuple[Tensor, list[BaseDataElement]]:
    """Normalized images and samples with masks.

    For SimMIM of 22 of 36 blocks, as at ratio 0.6; for MAE those that mmpretrain draws itself at
    :data:`SEED`.
    """
    generator = torch.Generator().manual_seed(1)
    side = MAE_SIZE if method == 'mae' else SIZE
    images = torch.randn(size, 3, side, side, generator=generator).to(device)
    if method == 'mae':
        torch.manual_seed(SEED)
        order = torch.rand(size, PATCHES**2, device=device).argsort(1).argsort(1)
        masks = (order >= PATCHES**2 // 4).view(-1, PATCHES, PATCHES)
    else:
        order = torch.rand(size, 36, generator=generator).argsort(1).argsort(1)
        masks = (order < 22).view(-1, 6, 6).repeat_interleave(8, 1).repeat_interleave(8, 2)
    return images, [BaseDataElement(mask=mask.to(device)) for mask in masks]


def step_function(contender: str, args: argparse.Namespace) -> Callable[[], float]:
    """A function that makes one training step and returns its loss."""
    model, wrapper = build(contender, args)
    images, samples = batch(args.batch, args.device, args.method)
    context = partial(wrapper.optim_context, model)
    if contender == 'their_amp':
        context = partial(torch.autocast, torch.device(args.device).type, torch.bfloat16)

    def step() -> float:
        torch.manual_seed(SEED)
        with context():
            loss = sum(model.loss(images, samples).values())
        wrapper.update_params(loss)
        return loss.item()  # waits for a GPU

    return step


def measure(args: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    """Losses and seconds of each step and contender, in turn; the first steps are not timed."""
    names = [name for name, key in CONTENDERS.items() if args.amp or not key.endswith('amp')]
    steps = {name: step_function(CONTENDERS[name], args) for name in names}
    results = {name: dict(loss=[], seconds=[]) for name in names}
    for i in range(args.warm_up + args.steps):
        for name, step in steps.items():
            start = args.clock()
            loss = step()
            elapsed = args.clock() - start
            results[name]['loss'].append(loss)
            if i >= args.warm_up:
                results[name]['seconds'].append(elapsed)
    return results


def peak_memory(contender: str, args: argparse.Namespace) -> float:
    """MiB that two steps take beside the model, at their peak; of this process, a new one."""
    step = step_function(contender, args)
    if args.device == 'cpu':
        start = resident('VmRSS')
    else:
        start = torch.cuda.memory_allocated() / 2**20
        torch.cuda.reset_peak_memory_stats()
    for _ in range(2):
        step()
    if args.device == 'cpu':
        return resident('VmHWM') - start
    return torch.cuda.max_memory_allocated() / 2**20 - start


def resident(field: str) -> float:
    """MiB of memory of this process, now (``VmRSS``) or at its peak (``VmHWM``).

    Not ``getrusage``: its peak starts with what the parent process had at the fork.
    """
    status = Path('/proc/self/status').read_text()
    return int(re.search(rf'^{field}:\s*(\d+) kB', status, re.MULTILINE)[1]) / 2**10


def peak_memory_elsewhere(contender: str, args: argparse.Namespace) -> float:
    command = [sys.executable, '-W', 'ignore', __file__, '--memory-of', contender]
    for option in ('method', 'batch', 'device', 'threads'):
        command += [f'--{option}', str(getattr(args, option))]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(result.stdout.splitlines()[-1])


def machine(args: argparse.Namespace) -> str:
    """What the figures depend on, in a few lines."""
    name, flags = platform.processor() or platform.machine(), set()
    for line in Path('/proc/cpuinfo').read_text().splitlines():
        key, _, value = line.partition(':')
        if key.strip() == 'model name':
            name = value.strip()
        elif key.strip() == 'flags':
            flags = set(value.split())
    present = {f: f in flags for f in ('avx512f', 'avx512_bf16', 'amx_bf16')}
    if args.device != 'cpu':
        name = f'{torch.cuda.get_device_name()} ({name})'
    return (
        f'{name}, {torch.get_num_threads()} threads; '
        + ', '.join(f'{f}: {"yes" if has else "no"}' for f, has in present.items())
        + f'; torch {torch.__version__}, mmpretrain {mmpretrain.__version__}'
    )


def report(results: dict, memory: dict[str, float], args: argparse.Namespace) -> str:
    theirs = results['mmpretrain, float32']
    lines = [
        f'Batch {args.batch}, median of {args.steps} steps taken in turn'
        f'{", processor time" * (args.clock is time.process_time)}. {machine(args)}.',
        '',
        '| | first loss | step, ms | fastest, ms | step / mmpretrain | peak memory, MiB |',
        '|---|---|---|---|---|---|',
    ]
    for name, result in results.items():
        seconds = result['seconds']
        # in pairs: what slowed one step slowed its neighbor
        ratio = statistics.median(a / b for a, b in zip(seconds, theirs['seconds']))
        lines.append(
            f'| {name} | {result["loss"][0]:.6f} | {statistics.median(seconds) * 1e3:.0f} '
            f'| {min(seconds) * 1e3:.0f} | {ratio:.2f} | {memory[name]:.0f} |'
        )
    lines += [
        '',
        f'Relative difference of the losses in float32: {difference(results, 0):.1e} at the first '
        f'step, {difference(results, -1):.1e} at the last. Peak memory is what two steps take '
        'beside the model: activations, gradients, AdamW.',
    ]
    if args.amp and args.device == 'cpu' and cpu_has_bfloat16() is False:
        lines += [
            '',
            'This processor has no bfloat16 instructions: `--amp` cannot be faster here, and its '
            'line says nothing about processors that have them.',
        ]
    return '\n'.join(lines)


def difference(results: dict, step: int) -> float:
    ours, theirs = (
        results[f'{name}, float32']['loss'][step] for name in ('simmim_mm', 'mmpretrain')
    )
    return abs(ours / theirs - 1)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--method', choices=MODELS_OF, default='simmim')
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--steps', type=int, default=15, help='timed steps of each contender')
    parser.add_argument('--warm-up', type=int, default=3)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    parser.add_argument(
        '--processor-time', dest='clock', action='store_const', const=time.process_time,
        default=time.perf_counter,
        help='of all threads together, where other work shares the machine',
    )  # fmt: skip
    parser.add_argument('--no-amp', dest='amp', action='store_false', help='float32 only')
    parser.add_argument('--check', action='store_true', help='one step of two images, no timing')
    parser.add_argument('--memory-of', choices=CONTENDERS.values(), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)

    if args.memory_of:
        print(json.dumps(peak_memory(args.memory_of, args)))
        return
    if args.check:
        args.batch, args.steps, args.warm_up, args.amp = 2, 0, 1, False
    results = measure(args)
    if not args.check:
        memory = {name: peak_memory_elsewhere(CONTENDERS[name], args) for name in results}
        print(report(results, memory, args))
    if difference(results, 0) > TOLERANCE:
        sys.exit(f'the losses differ by {difference(results, 0):.1e}, more than {TOLERANCE:.0e}')


if __name__ == '__main__':
    main()
