"""What of two networks is compared, and how: pure functions on tokens ``(B, N, C)``."""

import torch
import torch.nn.functional as F
from torch import Tensor

from simmim_mm.models.losses.pixel_loss import full_precision

ERRORS = dict(l1=F.l1_loss, l2=F.mse_loss, smooth_l1=F.smooth_l1_loss)
DISTANCES = ('cosine', *ERRORS)


def feature_distance(pred: Tensor, target: Tensor, kind: str) -> Tensor:
    """Distance of features ``(..., C)``, a scalar in float32 (float64 stays).

    ``'cosine'``: the mean of ``1 - cos(pred, target)``. ``'l1'``, ``'l2'`` (squared),
    ``'smooth_l1'``: the mean error against the target with zero mean and unit variance over its
    channels, because the scale of features differs from network to network by orders of magnitude.
    """
    pred, target = full_precision(pred), full_precision(target)
    if kind == 'cosine':
        return 1 - F.cosine_similarity(pred, target, dim=-1).mean()
    return ERRORS[kind](pred, F.layer_norm(target, target.shape[-1:], eps=1e-6))


def relation_divergence(
    student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor], heads: int
) -> Tensor:
    """How the relations among the tokens of two networks differ (TinyMIM, arXiv 2301.01296).

    For a pair (a, b), such as queries and keys, of ``(B, N, C)`` tokens, the channels of which are
    divided into ``heads`` groups of d, the relation of a group is ``R = softmax(a b^T / sqrt(d))``.
    The result is the mean over images, groups and tokens of ``sum_j R_t (log R_t - log R_s)``. The
    two networks may differ in width and in heads, as in MiniLMv2 (arXiv 2012.15828, section 3.2).
    """
    with torch.autocast(student[0].device.type, enabled=False):  # in bfloat16, rows become negative
        log_s, log_t = (_log_relation(*pair, heads) for pair in (student, teacher))
        return (log_t.exp() * (log_t - log_s)).sum(-1).mean()


def _log_relation(a: Tensor, b: Tensor, heads: int) -> Tensor:
    """``(B, heads, N, N)``."""
    a, b = (full_precision(x).unflatten(-1, (heads, -1)).transpose(1, 2) for x in (a, b))
    return (a @ b.transpose(-2, -1) / a.shape[-1] ** 0.5).log_softmax(-1)


def rank_me(features: Tensor) -> Tensor:
    """Effective rank of features ``(N, C)``, between 1 and min(N, C) (RankMe, arXiv 2210.02885).

    With s the singular values and ``p = s / sum(s) + 1e-7``: ``exp(-sum(p log p))``. 1: all rows
    are multiples of one, the features have collapsed.
    """
    s = torch.linalg.svdvals(full_precision(features))
    p = s / s.sum().clamp_min(1e-12) + 1e-7
    return torch.exp(-(p * p.log()).sum())
