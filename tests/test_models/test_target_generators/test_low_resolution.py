import pytest
import torch

from simmim_mm.models.target_generators import LocalNorm, LowResolution, NormPix, TargetSequence


def images(size=(32, 48)):
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize('factor', [1, 2, 8, 16])
def test_is_the_mean_of_squares(factor):
    x = images()
    small = LowResolution(factor)(x)
    assert small.shape == (2, 3, 32 // factor, 48 // factor)
    for i, j in [(0, 0), (1, 2), (32 // factor - 1, 48 // factor - 1)]:
        square = x[:, :, i * factor : (i + 1) * factor, j * factor : (j + 1) * factor]
        torch.testing.assert_close(small[:, :, i, j], square.mean((2, 3)))


def test_192_pixels_by_32_are_6_x_6():
    assert LowResolution(32)(images((192, 192))).shape[-2:] == (6, 6)


def test_is_drawn_as_squares():
    x, target = images(), LowResolution(8)
    drawn = target.invert(target(x), x)
    assert drawn.shape == x.shape
    torch.testing.assert_close(target(drawn), target(x))
    assert (drawn[..., :8, :8] == drawn[..., :1, :1]).all()


@pytest.mark.parametrize('stats', ['true', 'visible'])
@pytest.mark.parametrize('norm', [NormPix(patch_size=2), LocalNorm(patch_size=3)])
def test_a_normalization_may_follow_whatever_the_grid_of_the_mask(norm, stats):
    x = images()
    sequence = TargetSequence([LowResolution(8), norm])
    mask = torch.zeros(2, 8, 12, dtype=torch.bool)  # finer than the 4x6 of the target
    torch.testing.assert_close(
        sequence.invert(sequence(x), x, mask, stats), sequence[0].invert(sequence[0](x), x)
    )
    mask[:, :4, :5] = True  # parts of the squares in column 2
    pred = sequence(x)
    drawn = sequence.invert(pred, x, mask, stats)
    hidden = mask.repeat_interleave(4, 1).repeat_interleave(4, 2).unsqueeze(1)
    touched = torch.zeros_like(hidden)
    touched[:, :, :16, :24] = True
    other = torch.where(touched if stats == 'visible' else hidden & False, -3 * x, x)
    torch.testing.assert_close(sequence.invert(pred, other, mask, stats), drawn)


def test_a_size_that_is_not_whole_squares_is_told():
    with pytest.raises(ValueError, match='32x48 pixels are not whole squares of 5'):
        LowResolution(5)(images())
    with pytest.raises(ValueError, match='at least 1'):
        LowResolution(0)
