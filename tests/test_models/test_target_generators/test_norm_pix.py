import pytest
import torch
from torch.testing import assert_close

from simmim_mm.masking import patchify
from simmim_mm.models.target_generators.norm_pix import NormPix


def images(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)) * 3 + 1


def test_formula():
    x = images(2, 3, 16, 24)
    out = NormPix(8)(x)
    for row in range(2):
        for col in range(3):
            cut = (..., slice(8 * row, 8 * row + 8), slice(8 * col, 8 * col + 8))
            patch = x[cut].flatten(1)
            expected = (patch - patch.mean(1, True)) / (patch.var(1, keepdim=True) + 1e-6) ** 0.5
            assert_close(out[cut].flatten(1), expected)


@pytest.mark.parametrize('channels', [1, 3, 5])
def test_gain_and_offset_of_a_patch_do_not_matter(channels):
    x = images(1, channels, 16, 16)
    assert_close(NormPix(8)(x), NormPix(8)(4 * x - 7), rtol=1e-4, atol=1e-4)


def test_constant_patch_is_finite():
    assert not NormPix(8)(torch.full((1, 3, 8, 8), 2.5)).any()


def test_float32_under_autocast():
    x = images(1, 3, 16, 16)
    with torch.autocast('cpu', torch.bfloat16):
        out = NormPix(8)(x)
    assert_close(out, NormPix(8)(x), rtol=0, atol=0)


def test_inverse_with_true_statistics():
    x, target = images(2, 3, 16, 24), NormPix(8)
    assert_close(target.invert(target(x), x), x, rtol=1e-4, atol=1e-5)


def test_inverse_with_visible_statistics_does_not_look_under_the_mask():
    x, target = images(1, 3, 16, 32), NormPix(8)
    mask = torch.tensor([[[True, False, True, False], [False, False, True, True]]])
    hidden = mask.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None]
    other = torch.where(hidden, torch.rand_like(x) * 50, x)
    pred = images(1, 3, 16, 32)
    out = target.invert(pred, x, mask, stats='visible')
    assert_close(out, target.invert(pred, other, mask, stats='visible'))

    # masked patches: mean of the visible patches' means, mean of their deviations
    patches, p = patchify(x, 8)[~mask], patchify(pred, 8)[mask]
    mean, std = patches.mean(1).mean(), (patches.var(1) + 1e-6).sqrt().mean()
    assert_close(patchify(out, 8)[mask], p * std + mean)
    # visible patches: their own
    assert_close(patchify(out, 8)[~mask], patchify(target.invert(pred, x), 8)[~mask])


def test_nothing_visible_is_finite():
    x, mask = images(1, 3, 8, 8), torch.ones(1, 1, 1, dtype=torch.bool)
    assert_close(NormPix(8).invert(x, x, mask, stats='visible'), x)


def test_size_that_is_not_whole_patches_is_told():
    with pytest.raises(ValueError, match='20x16'):
        NormPix(8)(images(1, 3, 20, 16))


def test_a_floor_keeps_flat_patches_flat():
    x = torch.cat([0.003 * images(1, 3, 8, 8), images(1, 3, 8, 8)], -1)
    plain, floored = NormPix(8), NormPix(8, min_std=0.05)
    assert plain(x)[..., :8].std() > 0.9 and floored(x)[..., :8].std() < 0.3
    assert_close(floored(x)[..., 8:], plain(x)[..., 8:])
    assert_close(floored.invert(floored(x), x), x, atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match='min_std must be 0 or more, got -1'):
        NormPix(8, min_std=-1)
