import math

import pytest
import torch
from mmpretrain.models.selfsup.maskfeat import HOGGenerator

from simmim_mm.models.target_generators import HOG


def images(size=(32, 48), channels=3, batch=2):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, channels, *size, generator=generator)


def histograms(x, bins, cell):
    """Each cell's gradient by orientation, pixel by pixel; no weighting."""
    B, C, H, W = x.shape
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1), mode='reflect').double()
    smooth = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64)
    dx = padded[..., :-2] - padded[..., 2:]
    dx = sum(s * dx[..., i : i + H, :] for i, s in enumerate(smooth))
    dy = padded[..., :-2, :] - padded[..., 2:, :]
    dy = sum(s * dy[..., i : i + W] for i, s in enumerate(smooth))
    size = (dx**2 + dy**2).sqrt()
    index = (torch.atan2(dx, dy) / math.pi * bins).floor().long() % bins
    votes = torch.zeros(B, C, bins, H, W, dtype=torch.float64)
    for k in range(bins):
        votes[:, :, k] = size * (index == k)
    cells = votes.unfold(3, cell, cell).unfold(4, cell, cell).sum((-1, -2))
    return (cells / cells.norm(dim=2, keepdim=True)).flatten(1, 2)


@pytest.mark.parametrize('size', [(32, 32), (32, 48), (48, 16), (24, 56)])
@pytest.mark.parametrize('channels', [1, 3, 5])
def test_is_the_histogram_of_each_cell(size, channels):
    x = images(size, channels)
    hog = HOG(bins=9, cell=8, gaussian_window=0)
    assert hog.out_channels(channels) == 9 * channels
    expected = histograms(x, 9, 8).float()
    torch.testing.assert_close(hog(x), expected, rtol=1e-4, atol=1e-5)


def test_is_mmpretrains_where_that_works():
    # 112 pixels: its 14 x 14 tokens are one cell each
    x, native, reference = images((112, 112)), HOG(), HOGGenerator()
    tokens = reference(x)  # (B, 14 * 14, 27)
    expected = tokens.view(2, 14, 14, 27).permute(0, 3, 1, 2)
    torch.testing.assert_close(native(x), expected, rtol=0, atol=0)


def test_a_wide_image_is_weighted_as_its_left_and_right_halves_are():
    x = images((64, 128))
    wide, left = HOG()(x), HOG()(x[..., :64])
    torch.testing.assert_close(wide[..., :7], left[..., :7])  # the eighth cell sees the cut


def test_brightness_and_contrast_do_not_matter():
    x, gain = images(), torch.tensor([0.2, 3.0, 50.0]).view(3, 1, 1)
    torch.testing.assert_close(HOG()(gain * x + 7), HOG()(x), rtol=1e-3, atol=1e-3)


def test_a_flat_image_has_none():
    assert not HOG()(torch.full((1, 3, 32, 32), 2.0)).any()


def test_autocast_changes_nothing():
    x, target = images(), HOG()
    expected = target(x)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(target(x), expected)


def test_cannot_be_drawn():
    x, target = images(), HOG()
    assert not target.invertible
    with pytest.raises(ValueError, match='cannot be brought back'):
        target.invert(target(x), x)


def test_a_size_that_is_not_whole_cells_is_told():
    with pytest.raises(ValueError, match='36x48 pixels are not whole cells of 8'):
        HOG()(images((36, 48)))
