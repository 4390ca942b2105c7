"""What a mask costs: microseconds per image of each generator, the call of the transform included.

::

    python benchmarks/masks.py [--draws 2000] [--rounds 5]
"""

import argparse
import platform
import time

import numpy as np

from simmim_mm.datasets.transforms import (
    BlockWiseMask,
    RandomBlockMask,
    RectangleMask,
    SaliencyForeground,
    SemanticMask,
    SquareMask,
    UniformMask,
)
from simmim_mm.masking import avg_dist

SIZE = 192
MASKS = {
    'random blocks, 32 px, 0.6': RandomBlockMask(32, 0.6),
    'random blocks, 16 px, 0.6': RandomBlockMask(16, 0.6),
    'random tokens of 4 px, 0.6': RandomBlockMask(4, 0.6),
    'random tokens of 16 px, 0.75': RandomBlockMask(16, 0.75, 16),
    'uniform, 16 px': UniformMask(16),
    'square, 32 px, 0.44': SquareMask(32, 0.44),
    'one rectangle, 4 px, 0.44': RectangleMask(4, 0.44),
    'four rectangles, 4 px, 0.44': RectangleMask(4, 0.44, num_rectangles=4),
    'block-wise, 32 px, 0.4': BlockWiseMask(32, 0.4),
    'block-wise, 16 px, 0.6': BlockWiseMask(16, 0.6),
    'block-wise, 4 px, 0.6': BlockWiseMask(4, 0.6),
    'semantic, 32 px, 0.6, map given': SemanticMask(32, 0.6),
    'semantic, 16 px, 0.6, map given': SemanticMask(16, 0.6),
}


def microseconds(function, draws: int, rounds: int) -> tuple[float, float]:
    """Median and best over rounds of the mean time of a call."""
    means = []
    for _ in range(rounds + 1):  # the first one warms up
        start = time.perf_counter()
        for _ in range(draws):
            function()
        means.append((time.perf_counter() - start) / draws * 1e6)
    return float(np.median(means[1:])), min(means[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--draws', type=int, default=2000, help='calls a round')
    parser.add_argument('--rounds', type=int, default=5)
    args = parser.parse_args()

    np.random.seed(0)
    image = np.random.randint(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    foreground = np.zeros((SIZE, SIZE), np.uint8)
    foreground[40:120, 50:130] = 1
    results = dict(img=image, img_path='', gt_seg_map=foreground)
    functions = {name: lambda mask=mask: mask(results) for name, mask in MASKS.items()}
    mask = MASKS['random blocks, 32 px, 0.6'](dict(results))['mask']
    estimate = SaliencyForeground()
    functions['SaliencyForeground'] = lambda: estimate(dict(results))
    functions['avg_dist of 48 x 48 tokens'] = lambda: avg_dist(mask, 4)

    print(
        f'{platform.processor() or platform.machine()}, numpy {np.__version__}, {SIZE} x {SIZE} '
        f'pixels, {args.rounds} rounds of {args.draws} calls\n\n'
        '| | µs, median | µs, best |\n|---|---|---|'
    )
    for name, function in functions.items():
        median, best = microseconds(function, args.draws, args.rounds)
        print(f'| {name} | {median:.1f} | {best:.1f} |', flush=True)


if __name__ == '__main__':
    main()
