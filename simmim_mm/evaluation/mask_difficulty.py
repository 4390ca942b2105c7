"""AvgDist of mask generators."""

from collections.abc import Callable, Iterable

import numpy as np

from simmim_mm.datasets.seeding import seeded_rng
from simmim_mm.masking import avg_dist


def measure_generator(
    generator: Callable, size: tuple[int, int], draws: int = 500, seed: int = 0
) -> dict[str, float]:
    """AvgDist of the masks that a transform draws for images of a size.

    Args:
        generator: A mask transform that does not look at the image; for others see
            :func:`measure_masks`.
        size: Height and width of the images in pixels.
        draws: Number of masks.
        seed: Of the masks.

    Returns:
        As :func:`measure_masks`.
    """
    image = np.empty((*size, 0), np.uint8)
    with seeded_rng(seed):
        return measure_masks(
            (generator(dict(img=image))['mask'], generator.token_stride) for _ in range(draws)
        )


def measure_masks(masks: Iterable[tuple[np.ndarray, int]]) -> dict[str, float]:
    """AvgDist of masks.

    Args:
        masks: Masks ``(h, w)`` and the side of their tokens in pixels.

    Returns:
        ``masked``, the mean share of masked tokens; ``avg_dist``, the mean over the masks in
        pixels; ``std`` from mask to mask.
    """
    shares, distances = [], []
    for mask, stride in masks:
        shares.append(float(np.mean(np.asarray(mask, dtype=float))))
        distances.append(avg_dist(mask, stride))
    return dict(
        masked=float(np.mean(shares)),
        avg_dist=float(np.mean(distances)),
        std=float(np.std(distances)),
    )


__all__ = ['measure_generator', 'measure_masks']
