import pytest
import torch

from simmim_mm.registry import MODELS

# Error of one value: the criteria in their defining form.
CRITERIA = {
    'l1': lambda d: d.abs(),
    'l2': lambda d: d**2,
    'smooth_l1': lambda d: torch.where(d.abs() < 1, 0.5 * d**2, d.abs() - 0.5),
}


def build(**kwargs):
    return MODELS.build(dict(type='simmim_mm.MaskedPixelLoss', **kwargs))


def example(channels=3):
    torch.manual_seed(0)
    pred, target = 2 * torch.randn(2, 2, channels, 8, 12)
    weight = torch.rand(2, 1, 8, 12) < 0.6
    return pred, target, weight


@pytest.mark.parametrize('criterion', CRITERIA)
@pytest.mark.parametrize('channels', [1, 3, 6])
def test_is_the_authors_formula(criterion, channels):
    pred, target, weight = example(channels)
    error = CRITERIA[criterion]((pred - target).double())
    # SimMIM: (loss * mask).sum() / (mask.sum() + 1e-5) / in_chans
    expected = (error * weight).sum() / (weight.sum() + 1e-5) / channels
    loss = build(criterion=criterion)(pred, target, weight)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize('criterion', CRITERIA)
def test_without_weight_every_pixel_counts(criterion):
    pred, target, _ = example()
    loss = build(criterion=criterion)(pred, target)
    torch.testing.assert_close(loss, CRITERIA[criterion](pred - target).mean())


def test_visible_pixels_have_no_gradient():
    pred, target, weight = example()
    pred.requires_grad_()
    build()(pred, target, weight).backward()
    assert (pred.grad[~weight.expand_as(pred)] == 0).all()
    size = 1 / (weight.sum() + 1e-5) / 3
    torch.testing.assert_close(pred.grad.abs()[weight.expand_as(pred)].unique(), size.view(1))


def test_is_summed_over_the_batch_not_averaged_over_images():
    # As the authors': an image with more masked pixels weighs more.
    pred, target = torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4)
    target[0] = 4.0
    weight = torch.zeros(2, 1, 4, 4)
    weight[0, :, 0, 0], weight[1, :, :, :3] = 1, 1
    torch.testing.assert_close(
        build()(pred, target, weight), torch.tensor(4 / 13), rtol=1e-5, atol=0
    )


def test_an_empty_mask_is_finite():
    pred, target, weight = example()
    assert build()(pred, target, torch.zeros_like(weight)) == 0


def test_beta_is_where_smooth_l1_turns_linear():
    pred, target = torch.tensor([[[[0.2, 3.0]]]]), torch.zeros(1, 1, 1, 2)
    loss = build(criterion='smooth_l1', beta=0.5)(pred, target)
    torch.testing.assert_close(loss, torch.tensor((0.5 * 0.2**2 / 0.5 + 3 - 0.25) / 2))


def test_is_computed_in_float32_under_autocast():
    pred, target, weight = example()
    expected = build()(pred, target, weight)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(build()(pred, target, weight), expected)
        half = build()(pred.bfloat16(), target, weight)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, build()(pred.bfloat16().float(), target, weight))


def test_names_the_criteria_it_knows():
    with pytest.raises(ValueError, match="'l1', 'l2' or 'smooth_l1', got 'huber'"):
        build(criterion='huber')
