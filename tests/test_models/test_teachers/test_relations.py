"""What is compared of teacher and student equals the formulas, written inline in float64."""

import pytest
import torch

from simmim_mm.models.teachers.relations import feature_distance, rank_me, relation_divergence

FORMULAS = dict(
    cosine=lambda p, t: 1 - ((p * t).sum(-1) / (p.norm(dim=-1) * t.norm(dim=-1))).mean(),
    l1=lambda p, t: (p - t).abs().mean(),
    l2=lambda p, t: (p - t).square().mean(),
    smooth_l1=lambda p, t: torch.where(
        (p - t).abs() < 1, 0.5 * (p - t).square(), (p - t).abs() - 0.5
    ).mean(),
)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradients(function, *inputs):
    inputs = [x.clone().requires_grad_() for x in inputs]
    loss = function(*inputs)
    return loss, torch.autograd.grad(loss, inputs)


@pytest.mark.parametrize('kind', FORMULAS)
def test_the_distance_of_features_is_its_formula(kind):
    pred, target = randn(2, 5, 6), 3 * randn(2, 5, 6, seed=1) + 2
    scaled = target
    if kind != 'cosine':  # to zero mean and unit variance over the channels
        centered = target - target.mean(-1, keepdim=True)
        scaled = centered / (centered.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    loss, (grad,) = gradients(lambda p: feature_distance(p, target, kind), pred)
    expected, (expected_grad,) = gradients(lambda p: FORMULAS[kind](p, scaled), pred)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(grad, expected_grad, rtol=1e-10, atol=1e-14)


def test_a_relation_is_the_divergence_of_softmaxes_of_each_group_of_channels():
    """TinyMIM, section 3.2, between networks of 8 and 12 channels in two groups."""
    a, b, s, t = randn(2, 5, 8), randn(2, 5, 8, seed=1), randn(2, 5, 12, seed=2), randn(2, 5, 12)

    def formula(a, b):
        total = 0
        for image in range(2):
            for group in range(2):
                own, teacher = slice(4 * group, 4 * group + 4), slice(6 * group, 6 * group + 6)
                student = torch.exp(a[image, :, own] @ b[image, :, own].T / 4**0.5)
                student = student / student.sum(1, keepdim=True)
                wanted = torch.exp(s[image, :, teacher] @ t[image, :, teacher].T / 6**0.5)
                wanted = wanted / wanted.sum(1, keepdim=True)
                total += (wanted * torch.log(wanted / student)).sum() / (2 * 2 * 5)
        return total

    loss, grads = gradients(lambda *pair: relation_divergence(pair, (s, t), 2), a, b)
    expected, expected_grads = gradients(formula, a, b)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    for grad, wanted in zip(grads, expected_grads):
        torch.testing.assert_close(grad, wanted, rtol=1e-9, atol=1e-13)


def test_a_relation_is_computed_in_float32_under_autocast_and_is_never_negative():
    q, k = randn(2, 16, 8).float(), randn(2, 16, 8, seed=1).float()
    plain = relation_divergence((q, k), (q + 1e-3, k), 2)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(relation_divergence((q, k), (q + 1e-3, k), 2), plain)
    assert plain >= 0


def test_the_effective_rank():
    assert rank_me(torch.ones(9, 4)).item() == pytest.approx(1, abs=1e-4)
    assert rank_me(3 * torch.eye(6)).item() == pytest.approx(6, abs=1e-4)
    z = randn(20, 5)
    p = torch.linalg.svdvals(z)
    p = p / p.sum() + 1e-7
    assert rank_me(z).item() == pytest.approx(float((-p * p.log()).sum().exp()), rel=1e-12)
