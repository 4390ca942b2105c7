import copy
import math

import pytest
import torch

from simmim_mm.models.target_generators.low_freq import low_pass_gain
from simmim_mm.registry import MODELS

SIZES = [(32, 32), (33, 33), (32, 48), (31, 44), (40, 27)]


def build(mean=(0.0,), std=(1.0,), **kwargs):
    target = MODELS.build(dict(type='simmim_mm.LowFreq', **kwargs))
    target.set_pixel_stats(*(torch.tensor(v).view(-1, 1, 1) for v in (mean, std)))
    return target


def images(size, channels=3, batch=2, seed=0):
    """Photographs' spectrum, roughly: energy falls with frequency. Normalized, float64."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(batch, channels, *size, generator=generator, dtype=torch.float64)
    return (x.cumsum(-1) - x.mean() * torch.arange(1, size[1] + 1)) / 2


def authors_formula(x, radius, mean, std):
    """PixMIM's code in complex128, disc on the shifted spectrum, abs."""
    h, w = x.shape[-2:]
    i, j = torch.arange(h).view(-1, 1), torch.arange(w).view(1, -1)
    disc = (i - (h - 1) / 2) ** 2 + (j - (w - 1) / 2) ** 2 <= radius**2
    mean, std = (torch.tensor(v, dtype=torch.float64).view(-1, 1, 1) for v in (mean, std))
    spectrum = torch.fft.fftshift(torch.fft.fft2(x * std + mean), dim=(-2, -1))
    return (torch.fft.ifft2(spectrum * disc).abs() - mean) / std


def wave(size, ky, kx, phase=0.4):
    i, j = (torch.arange(n, dtype=torch.float64) for n in size)
    angle = 2 * math.pi * (ky * i.view(-1, 1) / size[0] + kx * j / size[1]) + phase
    return angle.cos()[None, None]


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('radius', [1, 5.5, 9, 13, 40])
def test_reference_mode_is_the_authors_formula(size, radius):
    mean, std = (124.0, 116.0, 104.0), (58.0, 57.0, 57.5)
    x = images(size)
    expected = authors_formula(x, radius, mean, std)
    target = build(mean, std, radius=radius)
    torch.testing.assert_close(target(x), expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(target(x.float()), expected.float(), rtol=0, atol=2e-5)


def test_reference_mode_folds_what_falls_below_black():
    # With black at the normalized -mean/std, ringing beside an edge goes below it; abs() folds it.
    mean, std = (50.0,), (25.0,)
    x = torch.full((1, 1, 32, 32), -2.0)
    x[..., 8:24, 8:24] = 3.0
    ringing, folded = build(radius=6, mode='centered')(x), build(mean, std, radius=6)(x)
    assert ringing.min() < -2.05
    assert folded.min() >= -2.0 - 1e-6


def test_the_range_of_the_loaded_images_does_not_matter():
    x = images((32, 48))
    mean, std = (0.5, 0.45, 0.4), (0.25, 0.22, 0.2)
    by_255 = ([255 * v for v in values] for values in (mean, std))
    # abs() commutes with the positive factor.
    torch.testing.assert_close(build(*by_255, radius=9)(x), build(mean, std, radius=9)(x))


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('mode', ['centered', 'reference'])
def test_constants_pass(size, mode):
    x = torch.tensor([-1.5, 0.0, 2.0]).view(1, 3, 1, 1).expand(2, 3, *size)
    target = build((120.0,) * 3, (60.0,) * 3, radius=7, mode=mode)(x)
    torch.testing.assert_close(target, x, rtol=0, atol=2e-6)


@pytest.mark.parametrize('size', SIZES)
def test_centered_mode_keeps_waves_inside_the_disc_and_removes_those_outside(size):
    target = build(radius=10, mode='centered')
    for ky, kx in [(0, 3), (6, 8), (8, -6), (-10, 0), (0, 10), (7, 7)]:
        x = wave(size, ky, kx)
        torch.testing.assert_close(target(x), x, rtol=0, atol=1e-12)
    for ky, kx in [(0, 11), (11, 0), (8, 7), (-8, 7), (12, -9), (size[0] // 2, size[1] // 2)]:
        assert target(wave(size, ky, kx)).abs().max() < 1e-12


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('rolloff', ['ideal', 'gaussian', 'butterworth'])
def test_centered_filters_give_a_real_image(size, rolloff):
    x = images(size).float()
    gain = low_pass_gain(size, radius=9, rolloff=rolloff).float()
    filtered = torch.fft.ifft2(torch.fft.fft2(x) * gain)
    assert filtered.imag.abs().max() < 1e-6
    target = build(radius=9, mode='centered', rolloff=rolloff)
    torch.testing.assert_close(target(x), filtered.real, rtol=0, atol=2e-6)


@pytest.mark.parametrize('size', SIZES)
def test_centered_ideal_filter_is_idempotent(size):
    target = build(radius=9, mode='centered')
    once = target(images(size))
    torch.testing.assert_close(target(once), once, rtol=0, atol=1e-12)


@pytest.mark.parametrize('rolloff', ['gaussian', 'butterworth'])
def test_smooth_filters_pass_half_the_power_at_the_radius(rolloff):
    gain = low_pass_gain((64, 64), radius=10, rolloff=rolloff, order=3)
    assert gain[0, 0] == 1
    torch.testing.assert_close(
        gain[[0, 10, 6, 8], [10, 0, 8, 6]] ** 2, torch.full((4,), 0.5).double()
    )
    along = gain[0, :33]
    assert (along.diff() < 0).all()
    torch.testing.assert_close(
        build(radius=10, mode='centered', rolloff=rolloff, order=3)(wave((64, 64), 3, 4)),
        gain[3, 4] * wave((64, 64), 3, 4),
        rtol=0,
        atol=1e-12,
    )


def test_butterworth_steepens_with_its_order():
    gains = [low_pass_gain((64, 64), radius=10, rolloff='butterworth', order=n) for n in (1, 4)]
    assert gains[1][0, 5] > gains[0][0, 5]
    assert gains[1][0, 20] < gains[0][0, 20] / 5


@pytest.mark.parametrize('mode', ['centered', 'reference'])
def test_a_share_of_nyquist_is_the_same_cut_off_at_every_size(mode):
    x = images((224, 224), 1, 1)
    by_share = build((1.0,), (0.5,), radius_ratio=40 / 112, mode=mode)
    torch.testing.assert_close(by_share(x), build((1.0,), (0.5,), radius=40, mode=mode)(x))
    # Twice the pixels, twice the bins; on a wide image the same cycles per pixel both ways.
    gain = low_pass_gain((64, 128), radius_ratio=0.25)
    assert gain[:, 0].sum() == 2 * 8 + 1
    assert gain[0].sum() == 2 * 16 + 1
    torch.testing.assert_close(gain[:, ::2], low_pass_gain((64, 64), radius=8))


@pytest.mark.parametrize('mode', ['centered', 'reference'])
def test_autocast_changes_nothing(mode):
    target = build((120.0,) * 3, (60.0,) * 3, radius=9, mode=mode)
    x = images((32, 48)).float()
    expected = target(x)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(target(x), expected)
        assert torch.equal(target(x.bfloat16()), target(x.bfloat16().float()))


@pytest.mark.parametrize('mode', ['centered', 'reference'])
def test_an_image_does_not_depend_on_its_batch_nor_a_channel_on_its_image(mode):
    target = build((120.0,), (60.0,), radius=9, mode=mode)
    x = images((32, 44), channels=5, batch=11).float()
    together = target(x)
    for i in (0, 7, 8, 10):  # on both sides of the chunks it works in
        assert torch.equal(target(x[i : i + 1])[0], together[i])
    torch.testing.assert_close(target(x[:, 3:4]), together[:, 3:4], rtol=0, atol=1e-6)


def test_statistics_are_per_channel():
    mean, std = (10.0, 120.0, 200.0, 500.0), (3.0, 60.0, 20.0, 400.0)
    x = images((32, 32), channels=4)
    torch.testing.assert_close(
        build(mean, std, radius=6)(x), authors_formula(x, 6, mean, std), rtol=0, atol=1e-10
    )


def test_its_caches_are_not_part_of_a_checkpoint():
    target = build(radius=6)
    for size in SIZES:
        target(images(size))
    assert target.state_dict() == {}
    clone = copy.deepcopy(target)
    assert torch.equal(clone(images((32, 32))), target(images((32, 32))))


def test_works_in_inference_mode_and_in_training_after_it():
    target = build(radius=6)
    x = images((32, 32))
    with torch.inference_mode():
        expected = target(x).clone()
    weight = torch.ones(1, dtype=torch.float64, requires_grad=True)
    (target(x) * weight).sum().backward()
    torch.testing.assert_close(weight.grad, expected.sum().view(1))


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(), 'either radius'),
        (dict(radius=3, radius_ratio=0.3), 'either radius'),
        (dict(radius=0), 'must be positive'),
        (dict(radius=3, mode='middle'), "'reference' or 'centered'"),
        (dict(radius=3, mode='centered', rolloff='hann'), "'ideal', 'gaussian'"),
        (dict(radius=3, rolloff='gaussian'), "mode='centered'"),
    ],
)
def test_refuses_settings_that_make_no_filter(kwargs, message):
    with pytest.raises(ValueError, match=message):
        build(**kwargs)


def test_refuses_to_remove_the_mean():
    with pytest.raises(ValueError, match='raise the radius'):
        build(radius=0.5)(images((32, 32)))
