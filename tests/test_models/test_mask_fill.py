import pytest
import torch

from simmim_mm.masking import upsample_mask
from simmim_mm.registry import MODELS

MEAN, STD = torch.tensor([100.0, 120.0, 90.0]), torch.tensor([50.0, 60.0, 40.0])

BASELINES = [
    dict(type='ConstantFill'),
    dict(type='MeanFill'),
    dict(type='MeanFill', of='image'),
    dict(type='SmoothFill'),
    dict(type='NoiseFill'),
    dict(type='NoiseFill', distribution='uniform'),
]


def build(cfg, mean=MEAN, std=STD):
    fill = MODELS.build({**cfg, 'type': f'simmim_mm.{cfg["type"]}'})
    fill.set_pixel_stats(mean.view(-1, 1, 1), std.view(-1, 1, 1))
    return fill.eval()


def example(batch=2, size=(32, 48)):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(batch, 3, *size, generator=generator) * 255
    x = (pixels - MEAN.view(3, 1, 1)) / STD.view(3, 1, 1)
    return x, torch.rand(batch, 4, 6, generator=generator) < 0.6


def pixels(x):
    return x * STD.view(3, 1, 1) + MEAN.view(3, 1, 1)


@pytest.mark.parametrize('cfg', BASELINES)
@pytest.mark.parametrize('training', [False, True])
def test_keeps_what_is_visible_and_nothing_of_what_is_not(cfg, training):
    fill, (x, mask) = build(cfg).train(training), example()
    hidden = upsample_mask(mask, x.shape[-2:]).expand_as(x)
    torch.manual_seed(5)
    filled = fill(x, mask)
    assert torch.equal(filled[~hidden], x[~hidden])
    torch.manual_seed(5)
    other = torch.where(hidden, torch.full_like(x, torch.nan), x)
    assert torch.equal(fill(other, mask), filled)
    assert not torch.equal(filled[hidden], x[hidden])


def test_zero_is_black_not_the_mean():
    x, mask = example()
    hidden = upsample_mask(mask, x.shape[-2:]).expand_as(x)
    black = build(dict(type='ConstantFill'))(x, mask)
    torch.testing.assert_close(
        pixels(black)[hidden].abs().max(), torch.zeros(()), atol=1e-4, rtol=0
    )
    mean = build(dict(type='MeanFill'))(x, mask)
    assert (mean[hidden] == 0).all()  # normalized, that is


def test_a_color_has_a_value_for_each_channel():
    x, mask = example()
    filled = build(dict(type='ConstantFill', value=[255, 0, 51]))(x, mask)
    colors = pixels(filled).movedim(1, -1)[upsample_mask(mask, x.shape[-2:])[:, 0]]
    expected = torch.tensor([255.0, 0.0, 51.0]).expand_as(colors)
    torch.testing.assert_close(colors, expected, atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match='2 values but images have 3 channels'):
        build(dict(type='ConstantFill', value=[1, 2]))


def test_mean_of_an_image_is_that_of_its_visible_pixels():
    x, mask = example()
    mask[1] = True  # nothing visible
    filled = build(dict(type='MeanFill', of='image'))(x, mask)
    hidden = upsample_mask(mask, x.shape[-2:])
    for c in range(3):
        mean = x[0, c][~hidden[0, 0]].mean()
        torch.testing.assert_close(filled[0, c][hidden[0, 0]], mean.expand(int(hidden[0].sum())))
    assert not filled[1].any()


def test_smooth_fill_is_the_mean_weighted_by_a_sum_of_gaussians():
    x, mask = example(size=(16, 24))
    mask[1] = True  # nothing visible
    filled = build(dict(type='SmoothFill'))(x, mask)
    hidden = upsample_mask(mask, x.shape[-2:])[0, 0]
    places = torch.stack(torch.meshgrid(torch.arange(16.0), torch.arange(24.0), indexing='ij'), -1)
    square = torch.cdist(places[hidden].double(), places[~hidden].double()) ** 2
    weight = sum(s**-6.0 * (-square / (2 * s**2)).exp() for s in (2, 4, 8))
    expected = weight @ x[0][:, ~hidden].double().T / weight.sum(1, keepdim=True)
    torch.testing.assert_close(filled[0][:, hidden].T.double(), expected, rtol=1e-4, atol=1e-5)
    assert not filled[1].any()
    with torch.autocast('cpu', torch.bfloat16):
        torch.testing.assert_close(build(dict(type='SmoothFill'))(x, mask), filled)


def test_gaussian_noise_has_the_statistics_of_the_dataset():
    x, mask = torch.zeros(64, 3, 32, 48), torch.ones(64, 4, 6, dtype=torch.bool)
    torch.manual_seed(0)
    noise = pixels(build(dict(type='NoiseFill')).train()(x, mask))
    torch.testing.assert_close(noise.mean((0, 2, 3)), MEAN, rtol=0.01, atol=0)
    torch.testing.assert_close(noise.std((0, 2, 3)), STD, rtol=0.01, atol=0)


def test_uniform_noise_fills_the_range_of_pixels():
    x, mask = torch.zeros(64, 3, 32, 48), torch.ones(64, 4, 6, dtype=torch.bool)
    torch.manual_seed(0)
    fill = build(dict(type='NoiseFill', distribution='uniform', low=10, high=200)).train()
    noise = pixels(fill(x, mask))
    shares = torch.histc(noise, 19, 10, 200) / noise.numel()
    torch.testing.assert_close(shares, torch.full((19,), 1 / 19), rtol=0.03, atol=0)


@pytest.mark.parametrize('distribution', ['gaussian', 'uniform'])
def test_noise_follows_the_seed_in_training_and_stays_in_evaluation(distribution):
    fill, (x, mask) = build(dict(type='NoiseFill', distribution=distribution)), example()
    mask[1] = mask[0]
    hidden = upsample_mask(mask, x.shape[-2:]).expand_as(x)

    fill.train()
    torch.manual_seed(1)
    first = fill(x, mask)
    assert not torch.equal(fill(x, mask), first)
    assert not torch.equal(first[0][hidden[0]], first[1][hidden[1]])
    torch.manual_seed(1)
    assert torch.equal(fill(x, mask), first)

    fill.eval()
    state = torch.get_rng_state()
    together = fill(x, mask)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(fill(x[1:], mask[1:]), together[1:])  # whatever its batch
    assert torch.equal(together[0][hidden[0]], together[1][hidden[1]])


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(type='MeanFill', of='batch'), "'dataset' or 'image', got 'batch'"),
        (dict(type='NoiseFill', distribution='laplace'), "'gaussian' or 'uniform'"),
        (dict(type='NoiseFill', low=255, high=0), 'low must be below high'),
    ],
)
def test_refuses_what_it_does_not_know(cfg, message):
    with pytest.raises(ValueError, match=message):
        build(cfg)
