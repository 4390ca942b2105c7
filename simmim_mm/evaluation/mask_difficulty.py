"""AvgDist of mask generators."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch

from simmim_mm.datasets.seeding import seeded_rng
from simmim_mm.masking import avg_dist, fit_mask
from simmim_mm.registry import MODELS

TOKEN_STRIDE = 4  # pixels, of Swin: the paper's


def measure_generator(
    generator: Callable,
    size: tuple[int, int],
    draws: int = 500,
    seed: int = 0,
    token_stride: int = TOKEN_STRIDE,
) -> dict[str, float]:
    """:func:`measure_masks` of those that a transform draws for images of a size.

    Args:
        generator: A mask transform that does not look at the image.
        size: Height and width of the images in pixels.
        draws: Number of masks, drawn from ``seed``.
        token_stride: Side in pixels of the tokens between which distances are measured.
    """
    image = np.empty((*size, 0), np.uint8)
    with seeded_rng(seed):
        return measure_masks(
            (on_tokens(generator(dict(img=image))['mask'], size, token_stride), token_stride)
            for _ in range(draws)
        )


def token_stride(model: Mapping) -> int:
    """Side in pixels of the tokens of a model's backbone, by its config; 4 if it has none."""
    if 'backbone' not in model:
        return TOKEN_STRIDE
    return MODELS.build(model['backbone']).token_stride


def on_tokens(
    mask: np.ndarray | torch.Tensor, size: Sequence[int], token_stride: int = TOKEN_STRIDE
) -> np.ndarray:
    """The mask ``(rows, columns)`` of an image of a size in pixels, by :func:`fit_mask`."""
    grid = size[0] // token_stride, size[1] // token_stride
    return fit_mask(torch.as_tensor(mask)[None], 1, grid, token_stride)[0].numpy()


def measure_masks(masks: Iterable[tuple[np.ndarray, int]]) -> dict[str, float]:
    """AvgDist of masks ``(h, w)``, each with the side of its tokens in pixels.

    Returns:
        ``masked``, the mean fraction of masked tokens; ``avg_dist``, the mean over the masks in
        pixels; ``std`` from mask to mask.
    """
    fractions, distances = zip(*((np.mean(m), avg_dist(m, stride)) for m, stride in masks))
    return dict(
        masked=float(np.mean(fractions)),
        avg_dist=float(np.mean(distances)),
        std=float(np.std(distances)),
    )
