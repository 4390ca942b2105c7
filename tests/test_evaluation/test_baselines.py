import cv2
import numpy as np
import pytest
import torch

from simmim_mm.evaluation.baselines import (
    compare_with_baselines,
    evaluate_baseline,
    inpaint_opencv,
    mean_color_baseline,
)
from simmim_mm.models.algorithms import MaskedImageModel

STD = torch.tensor([50.0, 60.0, 70.0]).view(3, 1, 1)


def scene(channels: int = 3, height: int = 32, width: int = 48) -> torch.Tensor:
    """Two images of smooth shades, different in every channel, 0..255."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    planes = [(x * (c + 1) + y * 2) % 200 + 20.0 * c / channels for c in range(channels)]
    return torch.stack([torch.stack(planes), torch.stack(planes).flip(-1)]).float()


def half_masks() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 4, 6, generator=generator) < 0.5


def test_mean_color_is_that_of_the_visible_pixels():
    image, mask = scene(), half_masks()
    filled = mean_color_baseline(image, mask)
    pixel_mask = mask.numpy().repeat(8, 1).repeat(8, 2)
    for i in range(2):
        for c in range(3):
            plane = image[i, c].numpy()
            expected = np.where(pixel_mask[i], plane[~pixel_mask[i]].mean(), plane)
            np.testing.assert_allclose(filled[i, c].numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize('fill', [mean_color_baseline, inpaint_opencv])
@pytest.mark.parametrize('channels', [1, 3, 5])
def test_fills_see_no_hidden_pixel_and_keep_visible_ones(fill, channels):
    image, mask = scene(channels), half_masks()
    hidden = mask.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None]
    other = torch.where(hidden, 255 - image, image)
    filled = fill(image, mask)
    assert torch.equal(filled, fill(other, mask))
    assert torch.equal(
        filled.where(~hidden, torch.zeros(())), image.where(~hidden, torch.zeros(()))
    )


@pytest.mark.parametrize('method', ['telea', 'ns'])
def test_inpainting_is_opencvs(method):
    image, mask = scene().round(), half_masks()
    flag = dict(telea=cv2.INPAINT_TELEA, ns=cv2.INPAINT_NS)[method]
    pixels = np.ascontiguousarray(image[1].permute(1, 2, 0).numpy().astype(np.uint8))
    hole = mask[1].numpy().repeat(8, 0).repeat(8, 1).astype(np.uint8)
    hole[:8] = hole[-8:] = 0  # OpenCV leaves holes at the rim as they are
    hole[:, :8] = hole[:, -8:] = 0
    expected = cv2.inpaint(pixels, hole, 3, flag)
    mask = torch.from_numpy(hole[None, ::8, ::8]).bool()
    filled = inpaint_opencv(image[1:], mask, method=method)[0]
    np.testing.assert_allclose(filled.permute(1, 2, 0).numpy(), expected, atol=1e-3)


def test_inpainting_of_other_value_ranges_is_the_same_up_to_scale():
    image, mask = scene(), half_masks()
    image = (image - image.amin((2, 3), keepdim=True)) / 50  # a quarter of the 8-bit range
    wide = inpaint_opencv(image * 1e4, mask)
    levels = 3 / 255 * float(wide.max() - wide.min())  # rounding to 8 bits, passed on
    again = inpaint_opencv(image * 1e5, mask) / 10
    torch.testing.assert_close(again, wide, rtol=0, atol=levels)


def test_all_masked_is_finite():
    mask = torch.ones(2, 4, 6, dtype=torch.bool)
    for fill in (mean_color_baseline, inpaint_opencv):
        assert fill(scene() * 1e4, mask).isfinite().all()


def test_unknown_method_is_named():
    with pytest.raises(ValueError, match='median'):
        inpaint_opencv(scene(), half_masks(), method='median')


def test_error_is_in_the_unit_of_the_models_loss():
    """A fill and a model that give the same picture get the same figure."""
    image, mask = scene(), half_masks()
    error = evaluate_baseline(mean_color_baseline, image, mask, STD)
    pixel_mask = mask.numpy().repeat(8, 1).repeat(8, 2)[:, None]
    difference = ((mean_color_baseline(image, mask) - image) / STD).abs().numpy() * pixel_mask
    expected = difference.sum((1, 2, 3)) / (pixel_mask.sum((1, 2, 3)) * 3)
    np.testing.assert_allclose(error.numpy(), expected, rtol=1e-4)


class _Constant(torch.nn.Module):
    """A backbone that predicts nothing: its neck gives zeros, the mean color of the data set."""

    def forward(self, x, mask=None):
        return (x,)


def _model(target=()) -> MaskedImageModel:
    from simmim_mm.registry import MODELS

    MODELS.register_module(name='_Constant', module=_Constant, force=True)
    MODELS.register_module(name='_Zero', module=_Zero, force=True)
    return MaskedImageModel(
        backbone=dict(type='_Constant'),
        neck=dict(type='_Zero'),
        head=dict(type='PixelHead'),
        target=list(target),
        data_preprocessor=dict(
            type='MIMDataPreprocessor', mean=[100.0, 110.0, 120.0], std=STD.flatten().tolist()
        ),
    )


class _Zero(torch.nn.Module):
    def forward(self, feats, mask):
        return torch.zeros_like(feats[0])


def _batches():
    from mmpretrain.structures import DataSample

    for image, mask in zip(scene(), half_masks()):
        sample = DataSample()
        sample.set_field(mask, 'mask', field_type='data')
        yield dict(inputs=[image], data_samples=[sample])


def test_comparison_scores_the_model_as_its_own_validation_does():
    model = _model().train()
    result = compare_with_baselines(model, list(_batches()))
    losses = []
    for batch in _batches():
        samples = model(**model.data_preprocessor(batch, False), mode='predict')
        losses += [sample.masked_losses['loss'] for sample in samples]
    assert result['model'] == pytest.approx(np.mean(losses), rel=1e-4)
    assert list(result) == ['model', 'mean color', 'OpenCV inpainting', 'smooth fill']
    expected = evaluate_baseline(mean_color_baseline, scene(), half_masks(), STD).mean()
    assert result['mean color'] == pytest.approx(float(expected), rel=1e-4)
    assert model.training


def test_comparison_refuses_targets_other_than_pixels():
    with pytest.raises(ValueError, match='LocalNorm'):
        compare_with_baselines(_model([dict(type='LocalNorm')]), list(_batches()))


def test_comparison_refuses_an_empty_set():
    with pytest.raises(ValueError, match='empty'):
        compare_with_baselines(_model(), [])
