"""Losses that want more of the decoder than a value: likelihood, cross-entropy, color bins."""

import math

import pytest
import torch
import torch.nn.functional as F

from simmim_mm.models.losses import PixelLoss
from simmim_mm.registry import MODELS

D = torch.float64
LOSSES = {
    'l1': dict(type='MaskedPixelLoss', criterion='l1'),
    'l2': dict(type='MaskedPixelLoss', criterion='l2'),
    'smooth_l1': dict(type='MaskedPixelLoss', criterion='smooth_l1'),
    'gaussian fixed': dict(type='GaussianLikelihood', variance='fixed', sigma=0.7),
    'gaussian channel': dict(type='GaussianLikelihood', variance='channel', sigma=0.7),
    'gaussian pixel': dict(type='GaussianLikelihood', variance='pixel', sigma=0.7),
    'cross-entropy': dict(type='PixelCrossEntropy'),
    '8 bins': dict(type='ColorBins', bins=8),
    '256 bins': dict(type='ColorBins', bins=256),
}


def build(name=None, **kwargs):
    cfg = {**LOSSES[name], **kwargs} if name else kwargs
    return MODELS.build({**cfg, 'type': f'simmim_mm.{cfg["type"]}'}).to(D)


def example(loss, channels=3, size=(4, 6), batch=2, dtype=D):
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(batch, channels, *size, generator=generator, dtype=dtype)
    if loss.target_value_range is None:
        target = 4 * target - 2
    shape = (batch, loss.pred_channels(channels), *size)
    pred = 0.7 * torch.randn(shape, generator=generator, dtype=dtype)
    weight = torch.rand(batch, 1, *size, generator=generator) < 0.6
    return pred, target, weight


def softplus(x):
    return (1 + x.exp()).log()


# value of each error, written from its definition
def gaussian(mean, variance, target):
    density = (-((target - mean) ** 2) / (2 * variance)).exp() / (2 * math.pi * variance).sqrt()
    return -density.log() - math.log(2 * math.pi) / 2


def gaussian_fixed(pred, target):
    return gaussian(pred, torch.tensor(0.49, dtype=D), target)


def gaussian_pixel(pred, target):
    offset = math.log(math.exp(0.49 - 1e-4) - 1)
    return gaussian(pred[:, :3], 1e-4 + softplus(pred[:, 3:] + offset), target)


def cross_entropy(pred, target):
    p = 1 / (1 + (-pred).exp())
    return -target * p.log() - (1 - target) * (1 - p).log()


def classes(bins):
    def error(pred, target):
        p = pred.view(len(pred), 3, bins, *pred.shape[2:]).exp()
        p = p / p.sum(2, keepdim=True)
        which = (target * bins).floor().clamp(max=bins - 1).long()
        return -p.gather(2, which[:, :, None])[:, :, 0].log()

    return error


FORMULAS = {
    'l1': lambda pred, target: (pred - target).abs(),
    'l2': lambda pred, target: (pred - target) ** 2,
    'smooth_l1': lambda pred, target: torch.where(
        (pred - target).abs() < 1, 0.5 * (pred - target) ** 2, (pred - target).abs() - 0.5
    ),
    'gaussian fixed': gaussian_fixed,
    'gaussian channel': gaussian_fixed,  # at the start
    'gaussian pixel': gaussian_pixel,
    'cross-entropy': cross_entropy,
    '8 bins': classes(8),
    '256 bins': classes(256),
}


@pytest.mark.parametrize('name', FORMULAS)
def test_is_its_formula(name):
    loss = build(name)
    pred, target, weight = example(loss)
    error = FORMULAS[name](pred, target)
    expected = (error * weight).sum() / (weight.sum().double() + 1e-5) / 3
    torch.testing.assert_close(loss(pred, target, weight), expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(loss(pred, target), error.mean(), rtol=1e-10, atol=0)


@pytest.mark.parametrize('name', FORMULAS)
def test_its_gradient_is_the_formulas(name):
    loss = build(name)
    pred, target, weight = example(loss)
    gradients = []
    for error in (loss.elementwise, FORMULAS[name]):
        p = pred.clone().requires_grad_()
        (error(p, target) * weight).sum().backward()
        gradients.append(p.grad)
    torch.testing.assert_close(*gradients, rtol=1e-8, atol=1e-10)
    assert not gradients[0][~weight.expand_as(pred)].any()


@pytest.mark.parametrize('name', LOSSES)
def test_gradients_are_those_of_finite_differences(name):
    loss = build(name)
    pred, target, weight = example(loss, size=(1, 2), batch=1)
    weight[..., 0, 0] = True
    parameters = [p.detach().clone().requires_grad_() for p in loss.parameters()]

    def value(pred, *parameters):
        names = dict(loss.named_parameters())
        arguments = (pred, target, weight)
        return torch.func.functional_call(loss, dict(zip(names, parameters)), arguments)

    assert torch.autograd.gradcheck(value, (pred.requires_grad_(), *parameters))


@pytest.mark.parametrize('name', LOSSES)
def test_half_precision_predictions_are_scored_in_float32(name):
    loss = build(name).float()
    pred, target, weight = example(loss, dtype=torch.float32)
    half = loss(pred.bfloat16(), target, weight)
    assert half.dtype == torch.float32
    exact = loss(pred.bfloat16().float(), target, weight)
    torch.testing.assert_close(half, exact, rtol=1e-6, atol=1e-6)
    with torch.autocast('cpu', torch.bfloat16):
        torch.testing.assert_close(loss(pred, target, weight), loss(pred, target, weight))
        assert loss(pred, target, weight).dtype == torch.float32


@pytest.mark.parametrize('name', LOSSES)
@pytest.mark.parametrize('scale', [0.0, 50.0, 1e4])
def test_extreme_predictions_and_flat_targets_are_finite(name, scale):
    loss = build(name).float()
    pred, target, weight = example(loss, dtype=torch.float32)
    pred = (scale * pred).requires_grad_()
    for t in (target, torch.zeros_like(target), torch.ones_like(target)):
        value = loss(pred, t, weight)
        (gradient,) = torch.autograd.grad(value, pred)
        assert value.isfinite() and gradient.isfinite().all()


@pytest.mark.parametrize('name', [n for n in LOSSES if 'gaussian' in n])
def test_agrees_with_torch(name):
    loss = build(name)
    pred, target, _ = example(loss)
    mean, variance = loss.decode(pred), loss.variance(pred).expand_as(target)
    expected = F.gaussian_nll_loss(mean, target, variance, reduction='none')
    torch.testing.assert_close(loss.elementwise(pred, target), expected)


def test_a_learned_variance_recovers_the_noise_of_each_channel():
    sigmas = torch.tensor([0.05, 0.3, 2.0], dtype=D)
    loss = build('gaussian channel', sigma=1.0)
    torch.manual_seed(0)
    clean = torch.randn(16, 3, 32, 32, dtype=D)
    noisy = clean + sigmas.view(3, 1, 1) * torch.randn_like(clean)
    fit(loss.parameters(), lambda: loss(clean, noisy))
    torch.testing.assert_close(loss.variance(clean).flatten().sqrt(), sigmas, rtol=0.05, atol=0)


def test_a_predicted_variance_recovers_noise_that_the_image_tells():
    # The noise of a pixel follows from the image: mean and variance are learned at once.
    torch.manual_seed(0)
    x = torch.rand(16, 2, 32, 32, dtype=D)
    region = (x[:, 1:] > 0.5).double()  # noise of 0.1 here, of 0.8 there
    sigma = 0.1 + 0.7 * region
    target = 3 * x[:, :1] - 1 + sigma * torch.randn_like(sigma)
    features = torch.cat([x[:, :1], region], 1)
    decoder = torch.nn.Conv2d(2, 2, 1).to(D)
    loss = build('gaussian pixel', sigma=1.0)
    fit(decoder.parameters(), lambda: loss(decoder(features), target))
    estimate = loss.variance(decoder(features)).sqrt()
    torch.testing.assert_close(estimate, sigma, rtol=0.05, atol=0)
    error = (loss.decode(decoder(features)) - (3 * x[:, :1] - 1)).abs().max()
    assert error < 0.05


def fit(parameters, value):
    optimizer = torch.optim.LBFGS(parameters, max_iter=200, line_search_fn='strong_wolfe')

    def closure():
        optimizer.zero_grad()
        loss = value()
        loss.backward()
        return loss

    optimizer.step(closure)


def test_fixed_variance_is_l2_on_another_scale():
    loss, l2 = build('gaussian fixed', sigma=2.0), build('l2')
    pred, target, weight = example(loss)
    gradients = []
    for function in (loss, l2):
        p = pred.clone().requires_grad_()
        function(p, target, weight).backward()
        gradients.append(p.grad)
    torch.testing.assert_close(gradients[0], gradients[1] / (2 * 2.0**2))


def every_value(dtype=torch.float32):
    """All 8-bit values, after the way through normalization and back."""
    target = MODELS.build(dict(type='simmim_mm.UnitRange'))
    mean, std = torch.tensor(123.675).view(1, 1, 1), torch.tensor(58.395).view(1, 1, 1)
    target.set_pixel_stats(mean, std)
    pixels = torch.arange(256, dtype=dtype).view(1, 1, 16, 16)
    return pixels, target((pixels - mean) / std)


@pytest.mark.parametrize('bins', [2, 4, 8, 16, 32, 256])
def test_bins_are_equal_ranges_of_gray_levels(bins):
    pixels, unit = every_value()
    index = build(type='ColorBins', bins=bins).float().to_bins(unit)
    assert torch.equal(index, pixels.long() // (256 // bins))


@pytest.mark.parametrize('draw', ['mean', 'mode'])
def test_256_bins_give_exact_pixel_values_back(draw):
    pixels, unit = every_value()
    loss = build(type='ColorBins', bins=256, draw=draw).float()
    logits = 200.0 * F.one_hot(loss.to_bins(unit), 256).float()  # (1, 1, 16, 16, 256)
    logits = logits.movedim(-1, 2).flatten(1, 2)
    assert loss(logits, unit) < 1e-6
    assert torch.equal((255 * loss.decode(logits)).round(), pixels)


def test_few_bins_are_drawn_as_the_mean_of_their_values():
    pixels, _ = every_value()
    loss = build(type='ColorBins', bins=8)
    means = pixels.flatten().double().unflatten(0, (8, 32)).mean(1)
    torch.testing.assert_close(255 * loss.centers(), means)
    p = torch.tensor([0.0, 0.25, 0, 0, 0, 0.75, 0, 0], dtype=D)
    logits = p.clamp(min=1e-30).log().view(1, 8, 1, 1)
    expectation = 0.25 * means[1] + 0.75 * means[5]
    torch.testing.assert_close(255 * loss.decode(logits).squeeze(), expectation)
    mode = build(type='ColorBins', bins=8, draw='mode').decode(logits).squeeze()
    torch.testing.assert_close(255 * mode, means[5])


def test_bins_of_the_channels_follow_each_other():
    loss = build(type='ColorBins', bins=4)
    target = torch.tensor([0.1, 0.6, 0.9], dtype=D).view(1, 3, 1, 1)
    pred = torch.zeros(1, 12, 1, 1, dtype=D)
    pred[0, [0, 4 + 2, 8 + 3]] = 50.0
    assert loss(pred, target) < 1e-12


def test_bins_keep_no_softmax_for_the_backward_pass():
    loss = build(type='ColorBins', bins=64).float()
    pred, target, weight = example(loss, size=(8, 8), batch=8, dtype=torch.float32)
    pred.requires_grad_()
    saved = []

    def pack(x):
        if x.untyped_storage().data_ptr() != pred.untyped_storage().data_ptr():
            saved.append(x.numel())
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        value = loss(pred, target, weight)
    value.backward()
    assert sum(saved) < pred.numel() / 4


def test_perfect_logits_reach_the_entropy_of_the_pixels():
    loss = build('cross-entropy')
    t = torch.linspace(0.05, 0.95, 24, dtype=D).view(1, 1, 4, 6)
    entropy = -(t * t.log() + (1 - t) * (1 - t).log()).mean()
    pred = t.logit().requires_grad_()
    value = loss(pred, t)
    torch.testing.assert_close(value, entropy)
    torch.testing.assert_close(loss.decode(pred), t)
    assert torch.autograd.grad(value, pred)[0].abs().max() < 1e-12


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(type='GaussianLikelihood', variance='image'), "'fixed', 'channel' or 'pixel'"),
        (dict(type='GaussianLikelihood', min_variance=0), 'min_variance must be above 0'),
        (dict(type='GaussianLikelihood', sigma=0.001), 'below sigma'),
        (dict(type='ColorBins', bins=1), 'at least 2'),
        (dict(type='ColorBins', draw='median'), "'mean' or 'mode'"),
    ],
)
def test_refuses_settings_without_meaning(kwargs, message):
    with pytest.raises(ValueError, match=message):
        build(**kwargs)


def test_a_head_takes_pixel_losses_only():
    head = dict(type='simmim_mm.PixelHead', loss=dict(type='mmpretrain.CrossEntropyLoss'))
    with pytest.raises(TypeError, match='CrossEntropyLoss is not a'):
        MODELS.build(head)
    assert all(isinstance(build(name), PixelLoss) for name in LOSSES)
