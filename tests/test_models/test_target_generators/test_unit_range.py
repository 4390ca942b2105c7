import pytest
import torch

from simmim_mm.models.target_generators import TargetSequence
from simmim_mm.registry import MODELS

MEAN, STD = torch.tensor([100.0, 120.0]).view(2, 1, 1), torch.tensor([50.0, 60.0]).view(2, 1, 1)


def build(**kwargs):
    target = MODELS.build(dict(type='simmim_mm.UnitRange', **kwargs))
    target.set_pixel_stats(MEAN, STD)
    return target


@pytest.mark.parametrize(('low', 'high'), [(0.0, 255.0), (-10.0, 4000.0)])
def test_is_the_share_of_the_range_and_back(low, high):
    pixels = low + (high - low) * torch.rand(2, 2, 8, 8, dtype=torch.float64)
    x, target = (pixels - MEAN) / STD, build(low=low, high=high)
    torch.testing.assert_close(target(x), (pixels - low) / (high - low))
    torch.testing.assert_close(target.invert(target(x), x), x)


def test_stays_within_0_and_1():
    x = torch.linspace(-9, 9, 50).view(1, 1, 5, 10).expand(1, 2, 5, 10)
    unit = build()(x)
    assert unit.min() == 0 and unit.max() == 1


def test_refuses_an_empty_range():
    with pytest.raises(ValueError, match='low must be below high'):
        build(low=255, high=255)


@pytest.mark.parametrize('first', ['NormPix', 'LocalNorm'])
@pytest.mark.parametrize('second', ['UnitRange', 'HOG'])
def test_what_needs_pixels_comes_before_what_gives_none(first, second):
    first, second = (MODELS.build(dict(type=f'simmim_mm.{name}')) for name in (first, second))
    with pytest.raises(ValueError, match=f"{type(second).__name__} needs pixels.*'normalized'"):
        TargetSequence([first, second])
    assert TargetSequence([second]).value_range == second.value_range
