"""The methods learn as they did: 30 steps of each give the losses that are stored."""

import json

import numpy as np
import pytest
from golden_curves import FILE, METHODS, STEPS, curve

# Rounding differs between processors: AVX2 instead of AVX-512 changes losses by up to 5e-6.
TOLERANCE = 1e-3
GOLDEN = json.loads(FILE.read_text())


def difference(losses: list[float], method: str) -> float:
    """The largest relative difference from the stored curve."""
    return float(np.abs(np.array(losses) / GOLDEN[method] - 1).max())


def test_there_is_a_curve_for_each_method_and_it_falls():
    assert GOLDEN.keys() == METHODS.keys()
    for method, losses in GOLDEN.items():
        assert len(losses) == STEPS and np.mean(losses[-5:]) < 0.99 * np.mean(losses[:5]), method


@pytest.mark.parametrize('method', METHODS)
def test_the_curve_is_the_stored_one(method):
    assert difference(curve(method), method) < TOLERANCE


# the one with the lowest learning rate, that with the fewest blocks, and one of each kind of mask
@pytest.mark.parametrize('method', ['SimMIM, Swin', 'SimMIM, ResNet', 'MAE', 'PixMIM, LSMAE'])
def test_another_learning_rate_or_mask_ratio_is_beyond_the_tolerance(method):
    assert difference(curve(method, lr_factor=1.5), method) > 2 * TOLERANCE
    assert difference(curve(method, mask_ratio=0.5), method) > 2 * TOLERANCE
