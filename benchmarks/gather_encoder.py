"""What encoding only the visible tokens saves.

Runs the encoder of MAE (ViT-B/16) and of ConvMAE (ConvViT-B) on the same images with a 75% mask and
with all tokens, in turn, in one process, forward and backward, and prints the ratios::

    python benchmarks/gather_encoder.py [--batch-size 8] [--rounds 5] [--device cpu]
"""

import argparse
import platform
import statistics
import time

import torch

from simmim_mm.registry import MODELS

ENCODERS = {
    'MAE ViT-B/16': dict(type='MaskedViT', arch='base', img_size=224, mask_mode='gather'),
    'ConvMAE ConvViT-B': dict(type='MaskedConvViT', arch='base', img_size=224),
}


def random_mask(batch_size: int, grid: int, ratio: float) -> torch.Tensor:
    n_visible = int(grid * grid * (1 - ratio))
    noise = torch.rand(batch_size, grid * grid)
    return (noise.argsort(1).argsort(1) >= n_visible).view(batch_size, grid, grid)


def step(encoder, images, mask):
    """Seconds of one forward and backward pass."""
    cuda = images.is_cuda
    if cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    encoder(images, mask)[-1].square().mean().backward()
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--batch-size', type=int, default=8)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--device', default='cpu')
    args = parser.parse_args()

    torch.manual_seed(0)
    images = torch.randn(args.batch_size, 3, 224, 224, device=args.device)
    mask = random_mask(args.batch_size, 14, 0.75).to(args.device)
    print(
        f'{platform.processor() or platform.machine()}, {args.device}, '
        f'{torch.get_num_threads()} threads, torch {torch.__version__}, batch {args.batch_size}, '
        f'float32, forward and backward, median of {args.rounds}\n'
    )
    print('| encoder | all tokens (s) | 25% visible (s) | ratio |\n|---|---|---|---|')
    for name, cfg in ENCODERS.items():
        encoder = MODELS.build(cfg).to(args.device).train()
        times = {'all': [], 'visible': []}
        for i in range(args.rounds + 1):
            whole, visible = step(encoder, images, None), step(encoder, images, mask)
            if i:  # the first round warms up
                times['all'].append(whole)
                times['visible'].append(visible)
        whole, visible = (statistics.median(t) for t in times.values())
        print(f'| {name} | {whole:.2f} | {visible:.2f} | {whole / visible:.2f} |', flush=True)


if __name__ == '__main__':
    main()
