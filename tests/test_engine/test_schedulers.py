"""The curves against their closed forms, step by step, as mmengine drives them."""

import math

import pytest
import torch
from mmengine.registry import PARAM_SCHEDULERS

LENGTH = 7  # iterations per epoch


def curve(schedulers, epochs, lr=0.4):
    """Learning rate of every iteration of a training of ``epochs``."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr)
    defaults = dict(optimizer=optimizer, epoch_length=LENGTH, convert_to_iter_based=True)
    schedulers = [
        PARAM_SCHEDULERS.build(dict(cfg, _scope_='simmim_mm'), default_args=defaults)
        for cfg in schedulers
    ]
    rates = []
    for _ in range(epochs * LENGTH):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return rates


@pytest.mark.parametrize('start_factor', [0.0, 0.005, 1.0])
def test_warmup_reaches_the_full_rate_at_its_end_and_stays(start_factor):
    rates = curve([dict(type='WarmupLR', start_factor=start_factor, end=3)], epochs=5)
    warm = 3 * LENGTH
    for t, rate in enumerate(rates):
        expected = 0.4 * (start_factor + (1 - start_factor) * min(t, warm) / warm)
        assert rate == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize('minimum', [dict(eta_min=0.02), dict(eta_min_ratio=0.05)])
def test_cosine_runs_through_the_warmup(minimum):
    warmup = dict(type='WarmupLR', start_factor=0.1, end=3)
    cosine = dict(type='CosineThroughWarmupLR', T_max=10, begin=3, end=10, **minimum)
    rates = curve([warmup, cosine], epochs=10)
    for t in range(3 * LENGTH, 10 * LENGTH):
        expected = 0.02 + 0.38 * (1 + math.cos(math.pi * t / (10 * LENGTH))) / 2
        assert rates[t] == pytest.approx(expected, rel=1e-12)
    assert rates[3 * LENGTH - 1] > rates[3 * LENGTH]  # onto the running cosine


def test_relative_rates_scale_with_the_base_rate():
    schedulers = [
        dict(type='WarmupLR', start_factor=0.1, end=3),
        dict(type='CosineThroughWarmupLR', T_max=10, begin=3, end=10, eta_min_ratio=0.05),
    ]
    full, half = curve(schedulers, 10, lr=0.4), curve(schedulers, 10, lr=0.2)
    assert half == pytest.approx([rate / 2 for rate in full], rel=1e-12)


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match='end after it begins'):
        curve([dict(type='WarmupLR', start_factor=0.1, end=0)], 1)
    with pytest.raises(ValueError, match='T_max'):
        curve([dict(type='CosineThroughWarmupLR', eta_min=0.0, end=3)], 1)
