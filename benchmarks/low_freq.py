"""What the low-frequency target costs.

Compares ``LowFreq(mode='reference')`` with the formula of the PixMIM code (full complex FFT, shift,
mask, inverse, absolute value) on the same images, in turn, in one process; then takes the filter's
time on a batch as a share of a training step of MAE ViT-B/16 on it::

    python benchmarks/low_freq.py [--images 64] [--step-images 4] [--rounds 9] [--device cpu]
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor

from simmim_mm.registry import MODELS

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
RADIUS, SIZE = 40, 224

MAE = dict(
    type='MaskedImageModel',
    data_preprocessor=dict(type='MIMDataPreprocessor', mean=MEAN, std=STD),
    backbone=dict(type='MaskedViT', arch='base', img_size=SIZE, patch_size=16, mask_mode='gather'),
    neck=dict(
        type='TransformerDecoder',
        in_channels=768,
        patch_size=16,
        img_size=SIZE,
        decoder_embed_dim=512,
        decoder_depth=8,
        decoder_num_heads=16,
    ),
    target=[dict(type='NormPix', patch_size=16)],
    head=dict(type='PixelHead', loss=dict(type='MaskedPixelLoss', criterion='l2')),
)


def complex_formula(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """What the PixMIM code computes, written down anew."""
    center = (SIZE - 1) / 2
    i = torch.arange(SIZE, device=x.device)
    disc = (i[:, None] - center) ** 2 + (i[None, :] - center) ** 2 <= RADIUS**2
    spectrum = torch.fft.fftshift(torch.fft.fft2(x * std + mean), dim=(-2, -1))
    return (torch.fft.ifft2(spectrum * disc).abs() - mean) / std


def seconds(function: Callable, device: str) -> float:
    if device != 'cpu':
        torch.cuda.synchronize()
    start = time.perf_counter()
    function()
    if device != 'cpu':
        torch.cuda.synchronize()
    return time.perf_counter() - start


def medians(functions: dict[str, Callable], rounds: int, device: str) -> dict[str, float]:
    """Median seconds of each, in turn, so that a busy machine slows all of them; one to warm up."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for i in range(rounds + 1):
        for name, function in functions.items():
            elapsed = seconds(function, device)
            if i:
                times[name].append(elapsed)
    return {name: statistics.median(values) for name, values in times.items()}


def mae_step(images: Tensor) -> Callable:
    """A training step: loss, gradients, AdamW."""
    model = MODELS.build(MAE).to(images.device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95))
    order = torch.rand(len(images), 196).argsort(1).argsort(1)
    samples = [BaseDataElement(mask=mask) for mask in (order >= 49).view(-1, 14, 14)]

    def step() -> None:
        optimizer.zero_grad()
        model.loss(images, samples)['loss'].backward()
        optimizer.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--images', type=int, default=64)
    parser.add_argument('--step-images', type=int, default=4, help='batch of the training step')
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument('--device', default='cpu')
    args = parser.parse_args()

    torch.manual_seed(0)
    mean, std = (torch.tensor(v, device=args.device).view(3, 1, 1) for v in (MEAN, STD))
    target = MODELS.build(dict(type='LowFreq', radius=RADIUS)).to(args.device)
    target.set_pixel_stats(mean, std)
    pixels = torch.randint(0, 256, (args.images, 3, SIZE, SIZE), device=args.device)
    images = (pixels - mean) / std
    few = images[: args.step_images].clone()

    agreement = (target(images) - complex_formula(images, mean, std)).abs().max().item()
    filters = {
        'complex FFT, shift, abs': lambda: complex_formula(images, mean, std),
        'LowFreq': lambda: target(images),
    }
    step = {'MAE ViT-B step': mae_step(few), 'LowFreq': lambda: target(few)}
    times = medians(filters, args.rounds, args.device)
    shares = medians(step, args.rounds, args.device)

    formula, ours = times.values()
    whole, part = shares.values()
    print(
        f'{platform.processor() or platform.machine()}, {args.device}, {torch.get_num_threads()} '
        f'threads, torch {torch.__version__}, float32, median of {args.rounds} in turn\n\n'
        f'| {args.images} x 3 x {SIZE} x {SIZE} | ms |\n|---|---|\n'
        f'| complex FFT, shift, abs | {formula * 1e3:.0f} |\n'
        f'| LowFreq | {ours * 1e3:.0f} |\n'
        f'| ratio | {formula / ours:.2f} |\n\n'
        f'largest difference {agreement:.1e} (normalized pixels)\n\n'
        f'| {args.step_images} images | ms |\n|---|---|\n'
        f'| MAE ViT-B/16 training step without the filter | {whole * 1e3:.0f} |\n'
        f'| LowFreq | {part * 1e3:.1f} |\n'
        f'| share of the step with it | {part / (whole + part):.2%} |'
    )


if __name__ == '__main__':
    main()
