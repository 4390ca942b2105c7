import pytest
import torch
import torch.nn.functional as F

from simmim_mm.masking import patchify, upsample_mask
from simmim_mm.registry import MODELS


def example(size=(32, 48), grid=(4, 6)):
    torch.manual_seed(0)
    pred, target = torch.randn(2, 2, 3, *size)
    return pred, target, torch.rand(2, *grid) < 0.6


@pytest.mark.parametrize(
    ('size', 'grid'), [((32, 48), (4, 6)), ((32, 48), (8, 4)), ((30, 20), (3, 5))]
)
def test_pixel_head_scores_the_pixels_under_the_mask(size, grid):
    pred, target, mask = example(size, grid)
    head = MODELS.build(dict(type='simmim_mm.PixelHead'))
    pixels = F.interpolate(mask[:, None].float(), size).bool().expand_as(pred)
    expected = (pred - target)[pixels].abs().mean()
    torch.testing.assert_close(head.loss(pred, target, mask)['loss'], expected)


def test_pixel_head_can_score_the_whole_image():
    pred, target, mask = example()
    head = MODELS.build(dict(type='simmim_mm.PixelHead', masked_only=False))
    torch.testing.assert_close(head.loss(pred, target, mask)['loss'], (pred - target).abs().mean())


def test_pixel_head_takes_any_loss():
    pred, target, mask = example()
    loss = dict(type='simmim_mm.MaskedPixelLoss', criterion='l2')
    head = MODELS.build(dict(type='simmim_mm.PixelHead', loss=loss))
    # MAE: mean over each patch, then over the masked patches.
    error = patchify((pred - target) ** 2, 8).mean(-1)
    expected = (error * mask).sum() / mask.sum()
    torch.testing.assert_close(head.loss(pred, target, mask)['loss'], expected)


@pytest.mark.parametrize(('stride', 'out_channels'), [(4, 3), (8, 1), (2, 5)])
def test_every_position_decodes_its_own_pixels(stride, out_channels):
    torch.manual_seed(0)
    cfg = dict(in_channels=7, stride=stride, out_channels=out_channels)
    neck = MODELS.build(dict(type='simmim_mm.PixelShuffleDecoder', **cfg))
    first, last = torch.randn(2, 7, 6, 10), torch.randn(2, 7, 3, 5)
    mask = torch.rand(2, 3, 5) < 0.5
    pred = neck((first, last), mask)
    assert pred.shape == (2, out_channels, 3 * stride, 5 * stride)
    # A linear map of each position's features, arranged (channel, row, column).
    weight = neck.decoder[0].weight.flatten(1)
    values = torch.einsum('oc,bchw->bhwo', weight, last) + neck.decoder[0].bias
    blocks = values.view(2, 3, 5, out_channels, stride, stride).permute(0, 3, 1, 4, 2, 5)
    torch.testing.assert_close(pred, blocks.reshape_as(pred))
    # What changes at one position changes that block and nothing else.
    other = last.clone()
    other[:, :, 1, 2] += 1
    touched = torch.zeros(2, 3, 5, dtype=torch.bool)
    touched[:, 1, 2] = True
    touched = upsample_mask(touched, pred.shape[-2:]).expand_as(pred)
    changed = neck((first, other), mask) != pred
    assert changed[touched].all()
    assert not changed[~touched].any()
