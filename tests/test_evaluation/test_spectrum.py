import math

import pytest
import torch

from simmim_mm.evaluation.spectrum import (
    BANDS,
    band_power,
    masked_errors,
    power_spectrum,
    radial_frequency,
    radial_profile,
)
from simmim_mm.masking import upsample_mask
from simmim_mm.models.target_generators import LowFreq

SIZES = [(32, 32), (31, 44), (48, 27)]


def noise(size, seed=0):
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(seed)).double()


def wave(size, ky, kx):
    i, j = (torch.arange(n, dtype=torch.float64) for n in size)
    return (2 * math.pi * (ky * i.view(-1, 1) / size[0] + kx * j / size[1]) + 0.3).cos()


@pytest.mark.parametrize('size', SIZES)
def test_power_adds_up_to_the_mean_square(size):
    x = noise(size) + 3
    mean_square = x.square().mean((-2, -1))
    power = power_spectrum(x)
    torch.testing.assert_close(power.sum((-2, -1)), mean_square)
    torch.testing.assert_close(power[..., 0, 0], x.mean((-2, -1)) ** 2)
    torch.testing.assert_close(band_power(power).sum(-1), mean_square)


def test_a_window_keeps_the_power_of_a_texture_on_average():
    x = torch.randn(400, 32, 48, generator=torch.Generator().manual_seed(0)) + 5
    total = power_spectrum(x, window=True).sum((-2, -1)).mean()
    torch.testing.assert_close(total, x.double().square().mean(), rtol=5e-3, atol=0)


def test_a_window_removes_what_leaks_from_the_border():
    # A shading: its jump from border to border spreads over all frequencies.
    x = torch.linspace(-1, 1, 64).expand(64, 64)
    plain, faded = (band_power(power_spectrum(x, w), (0.25, 1.5)) for w in (False, True))
    assert faded < plain / 1000


@pytest.mark.parametrize(('ky', 'kx'), [(0, 4), (-3, 2), (16, 0), (16, 16), (9, 12)])
def test_a_wave_falls_into_its_band(ky, kx):
    edges = (0.0, 0.1, 0.2, 0.4, 0.6, 1.0, 1.5)
    frequency = math.hypot(ky, kx) / 16  # a share of the Nyquist frequency
    x = wave((32, 32), ky, kx)
    expected = [
        x.square().mean().item() if low < frequency <= high else 0
        for low, high in zip(edges, edges[1:])
    ]
    torch.testing.assert_close(
        band_power(power_spectrum(x), edges), torch.tensor(expected).double(), rtol=1e-6, atol=1e-12
    )


def test_bands_do_not_depend_on_the_size_of_the_image():
    # The same stripes, in cycles per pixel, on images of other sizes and aspects.
    powers = [
        band_power(power_spectrum(wave(size, size[0] // 8, 0)))
        for size in [(32, 32), (64, 40), (16, 27)]
    ]
    for power in powers[1:]:
        torch.testing.assert_close(power, powers[0])


@pytest.mark.parametrize('size', SIZES)
def test_the_profile_of_white_noise_is_flat(size):
    x = torch.randn(600, *size, generator=torch.Generator().manual_seed(0))
    frequency, profile = radial_profile(power_spectrum(x).mean(0))
    assert len(frequency) == min(size) // 2
    assert frequency[-1] == 1
    torch.testing.assert_close(
        profile * size[0] * size[1], torch.ones_like(profile), rtol=0.1, atol=0
    )


def test_the_filter_removes_the_bands_above_its_cut_off():
    x = noise((112, 112)).float()
    target = LowFreq(radius_ratio=BANDS[4], mode='centered')(x)
    before, after = (band_power(power_spectrum(v)) for v in (x, target))
    torch.testing.assert_close(after[..., :4], before[..., :4], rtol=1e-4, atol=0)
    assert (after[..., 4:] < 1e-10).all()


def test_frequencies_of_both_axes():
    frequency = radial_frequency((4, 5))
    torch.testing.assert_close(frequency[:, 0], torch.tensor([0, 0.5, 1, 0.5]).double())
    torch.testing.assert_close(frequency[0], torch.tensor([0, 0.4, 0.8, 0.8, 0.4]).double())


@pytest.mark.parametrize('edges', [(0.5,), (0.2, 0.1), (0, 0, 1)])
def test_refuses_edges_that_make_no_bands(edges):
    with pytest.raises(ValueError, match='at least two and rise'):
        band_power(power_spectrum(noise((8, 8))), edges)


def test_errors_are_the_mean_squared_error_of_masked_pixels():
    torch.manual_seed(0)
    std = torch.tensor([50.0, 60.0, 70.0]).view(3, 1, 1)
    names = ('original', 'prediction', 'target', 'masked')
    pictures = {name: 255 * torch.rand(2, 3, 32, 48) for name in names}
    pictures['mask'] = upsample_mask(torch.rand(2, 4, 6) < 0.6, (32, 48))
    errors = masked_errors(pictures, std)
    pairs = {
        'prediction': ('prediction', 'original'),
        'prediction from target': ('prediction', 'target'),
        'target': ('target', 'original'),
        'mean color': ('masked', 'original'),
    }
    assert set(errors) == set(pairs)
    for name, (a, b) in pairs.items():
        power = band_power(power_spectrum(errors[name])).sum(-1).mean(1)
        for i in range(2):
            under = pictures['mask'][i, 0]
            difference = ((pictures[a] - pictures[b])[i] / std)[:, under]
            torch.testing.assert_close(power[i].float(), difference.square().mean())
