"""A linear classifier on frozen features, in closed form."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# Strengths of the penalty, as fractions of the mean squared singular value.
STRENGTHS = tuple(10.0**power for power in range(-5, 3))


class LinearProbe(NamedTuple):
    """Labels ``(M,)`` that a probe predicts, and the strength of the penalty it has chosen."""

    predicted: Tensor
    strength: float


def ridge_probe(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor | None = None,
    strengths: tuple[float, ...] = STRENGTHS,
) -> LinearProbe:
    """Classify by least squares with a penalty (ridge regression) on one-hot labels.

    Each feature is brought to mean 0 and standard deviation 1, as linear probing of masked
    autoencoders does (arXiv 2111.06377, appendix A). The strength is the one with the smallest
    squared error when each image of the bank is left out in turn, which has a closed form: with the
    hat matrix ``H`` of the fit, an image's error without itself is ``(y - H y)_i / (1 - H_ii)``
    (Allen 1974). So nothing is drawn at random, and nothing is trained in steps.

    Args:
        bank: ``(N, C)`` labeled features, N at least 2.
        bank_labels: ``(N,)`` integers from 0.
        queries: ``(M, C)``. None: those of the bank, each predicted by a fit without it.
        strengths: To choose from, relative to the mean squared singular value of the features.
    """
    bank = bank.double()
    mean, scale = bank.mean(0), bank.std(0, correction=0)
    scale = torch.where(scale > 1e-9 * bank.abs().amax().clamp(min=1e-300), scale, torch.inf)
    target = F.one_hot(bank_labels.long()).double()
    prior = target.mean(0)
    left, singular, right = torch.linalg.svd((bank - mean) / scale, full_matrices=False)
    power = singular.square()
    seen = left.T @ (target - prior)

    fits = []
    for strength in strengths:
        kept = power / (power + strength * power.mean().clamp(min=1e-300))
        leverage = 1 / len(bank) + left.square() @ kept
        error = (target - prior - left * kept @ seen) / (1 - leverage).clamp(min=1e-12)[:, None]
        fits.append((error.square().mean().item(), strength, kept, error))
    _, strength, kept, error = min(fits, key=lambda fit: fit[0])
    if queries is None:
        scores = target - error
    else:
        inverse = torch.where(singular > 0, kept / singular, 0)
        weight = right.T * inverse @ seen
        scores = (queries.double() - mean) / scale @ weight + prior
    return LinearProbe(scores.argmax(1), strength)
