"""The fused AdamW is AdamW."""

import copy

import pytest
import torch
from torch import nn

from simmim_mm.engine.optimizers import FusedAdamW
from simmim_mm.registry import OPTIMIZERS


def train(optimizer, model: nn.Module, steps: int) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x = torch.randn(4, 6, dtype=torch.float64, generator=generator)
        model(x).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def test_updates_as_the_formula_of_the_paper(model):
    """Loshchilov and Hutter, algorithm 2, written out."""
    lr, (b1, b2), eps, decay = 0.01, (0.8, 0.95), 1e-8, 0.1
    expected = [p.detach().clone() for p in model.parameters()]
    m = [torch.zeros_like(p) for p in expected]
    v = [torch.zeros_like(p) for p in expected]
    optimizer = OPTIMIZERS.build(
        dict(
            type='FusedAdamW',
            params=list(model.parameters()),
            lr=lr,
            betas=(b1, b2),
            eps=eps,
            weight_decay=decay,
        )
    )
    x = torch.randn(4, 6, dtype=torch.float64)
    for t in range(1, 6):
        model(x).square().sum().backward()
        for i, p in enumerate(model.parameters()):
            m[i] = b1 * m[i] + (1 - b1) * p.grad
            v[i] = b2 * v[i] + (1 - b2) * p.grad**2
            step = (m[i] / (1 - b1**t)) / ((v[i] / (1 - b2**t)).sqrt() + eps)
            expected[i] = expected[i] * (1 - lr * decay) - lr * step
        optimizer.step()
        optimizer.zero_grad()
    for p, e in zip(model.parameters(), expected):
        torch.testing.assert_close(p.detach(), e, rtol=1e-10, atol=1e-12)


def test_goes_on_from_the_state_of_plain_adamw(model):
    """A training begun before the fused kernel was used can be resumed."""
    other = copy.deepcopy(model)
    plain = torch.optim.AdamW(model.parameters(), lr=0.01)
    train(plain, model, 3)
    fused = FusedAdamW(other.parameters(), lr=0.01)
    other.load_state_dict(model.state_dict())
    fused.load_state_dict(copy.deepcopy(plain.state_dict()))
    train(plain, model, 3)
    train(fused, other, 3)
    for a, b in zip(model.parameters(), other.parameters()):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
