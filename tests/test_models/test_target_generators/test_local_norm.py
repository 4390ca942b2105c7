import pytest
import torch
import torch.nn.functional as F

from simmim_mm.registry import MODELS


def build(**kwargs):
    return MODELS.build(dict(type='simmim_mm.LocalNorm', **kwargs))


def images(size=(50, 37), channels=3, dtype=torch.float64):
    """Smooth shades plus noise: local means and variances differ a lot."""
    torch.manual_seed(0)
    rows = torch.linspace(-2, 2, size[0], dtype=torch.float64).view(-1, 1)
    x = rows * torch.linspace(0, 1, size[1], dtype=torch.float64)
    return (x + 0.3 * torch.randn(2, channels, *size, dtype=torch.float64)).to(dtype)


def authors_formula(x, size):
    """SimMIM for Swin v2: moments over the window without padding, unbiased variance."""

    def pool(x, count_include_pad=False):
        return F.avg_pool2d(x, size, 1, size // 2, count_include_pad=count_include_pad)

    mean, square = pool(x), pool(x**2)
    n = pool(torch.ones_like(x), count_include_pad=True) * size**2
    var = ((square - mean**2) * n / (n - 1)).clamp(min=0)
    return (x - mean) / (var + 1e-6) ** 0.5


@pytest.mark.parametrize('patch_size', [3, 7, 31, 47, 99])
@pytest.mark.parametrize('size', [(50, 50), (50, 37), (24, 61)])
def test_is_the_authors_formula_up_to_the_borders(patch_size, size):
    x = images(size)
    target = build(patch_size=patch_size)(x.float())
    torch.testing.assert_close(
        target.double(), authors_formula(x, patch_size), rtol=1e-4, atol=1e-4
    )


def test_a_corner_pixel_sees_a_quarter_window():
    x = images()
    window = x[:, :, :4, :4].flatten(2)
    expected = (x[:, :, 0, 0] - window.mean(-1)) / (window.var(-1) + 1e-6).sqrt()
    torch.testing.assert_close(
        build(patch_size=7)(x.float())[:, :, 0, 0].double(), expected, rtol=1e-4, atol=1e-5
    )


def test_brightness_and_contrast_do_not_matter():
    x = images(dtype=torch.float32)
    target = build(patch_size=9)
    torch.testing.assert_close(target(5 * x + 1), target(x), rtol=1e-3, atol=1e-3)


def test_a_flat_image_has_a_target_of_zero():
    x = torch.full((1, 2, 30, 30), 2.64)
    assert build(patch_size=7)(x).abs().max() < 1e-2


def test_autocast_changes_nothing():
    x, target = images(dtype=torch.float32), build(patch_size=9)
    expected = target(x)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(target(x), expected)


@pytest.mark.parametrize('stats', ['true', 'visible'])
def test_invert_without_a_mask_undoes_forward(stats):
    x, target = images(dtype=torch.float32), build(patch_size=9)
    torch.testing.assert_close(target.invert(target(x), x, None, stats), x, rtol=0, atol=1e-5)


def half_masked():
    mask = torch.zeros(2, 6, 5, dtype=torch.bool)
    mask[0, :, 2] = mask[1, 1:4] = True
    return mask


def test_true_statistics_undo_forward_under_a_mask_too():
    x, target = images((48, 40), dtype=torch.float32), build(patch_size=9)
    inverted = target.invert(target(x), x, half_masked(), 'true')
    torch.testing.assert_close(inverted, x, rtol=0, atol=1e-5)


def test_visible_statistics_are_those_of_the_visible_pixels_in_the_window():
    x, target, mask = images((48, 40), channels=2), build(patch_size=9), half_masked()
    pred = torch.randn(2, 2, 48, 40)
    inverted = target.invert(pred, x.float(), mask, 'visible').double()
    hidden = mask.repeat_interleave(8, 1).repeat_interleave(8, 2)
    for b, i, j in [(0, 20, 14), (0, 0, 18), (0, 47, 23), (1, 6, 0), (1, 34, 39), (1, 40, 20)]:
        rows, cols = (slice(max(0, k - 4), k + 5) for k in (i, j))
        window = x[b, :, rows, cols][:, ~hidden[b, rows, cols]]
        std = (window.var(-1) + 1e-6).sqrt()
        expected = pred[b, :, i, j].double() * std + window.mean(-1)
        torch.testing.assert_close(inverted[b, :, i, j], expected, rtol=1e-3, atol=1e-3)


def test_visible_statistics_leak_nothing_from_under_the_mask():
    x, target, mask = images((48, 40), dtype=torch.float32), build(patch_size=9), half_masked()
    pred = target(x)
    hidden = mask.repeat_interleave(8, 1).repeat_interleave(8, 2).unsqueeze(1)
    other = torch.where(hidden, torch.randn_like(x) * 9, x)
    torch.testing.assert_close(
        target.invert(pred, x, mask, 'visible'), target.invert(pred, other, mask, 'visible')
    )


def test_windows_that_are_masked_entirely_are_finite():
    x, target = images((48, 40), dtype=torch.float32), build(patch_size=5)
    mask = torch.ones(2, 6, 5, dtype=torch.bool)
    assert target.invert(target(x), x, mask, 'visible').isfinite().all()


@pytest.mark.parametrize('patch_size', [1, 8])
def test_refuses_windows_without_a_center(patch_size):
    with pytest.raises(ValueError, match='must be odd'):
        build(patch_size=patch_size)
