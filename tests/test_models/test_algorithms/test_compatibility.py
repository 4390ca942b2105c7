"""Parts that do not go together are refused when the algorithm is built, with the reason."""

import pytest
import torch
from mmengine.structures import BaseDataElement

from simmim_mm.registry import MODELS

ARCH = dict(embed_dims=8, num_layers=1, num_heads=2, feedforward_channels=16)
VIT = dict(type='MaskedViT', arch=ARCH, img_size=32, patch_size=8)
GATHER = dict(VIT, mask_mode='gather')
LINEAR = dict(type='PixelShuffleDecoder', in_channels=8, stride=8)
RGB = dict(LINEAR, out_channels=3)
MAE = dict(
    type='TransformerDecoder',
    in_channels=8,
    img_size=32,
    patch_size=8,
    decoder_embed_dim=8,
    decoder_depth=1,
    decoder_num_heads=2,
)
SWIN = dict(embed_dims=4, num_heads=[1] * 5)
UNIT = [dict(type='UnitRange')]


def build(backbone=VIT, neck=LINEAR, loss=dict(type='MaskedPixelLoss'), channels=3, **kwargs):
    stats = dict(mean=[120.0] * channels, std=[60.0] * channels)
    return MODELS.build(
        dict(
            type='MaskedImageModel',
            backbone=backbone,
            neck=neck,
            head=dict(type='PixelHead', loss=loss),
            data_preprocessor=dict(type='MIMDataPreprocessor', **stats),
            **kwargs,
        )
    )


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (
            dict(backbone=GATHER, neck=MAE, fill=dict(type='MeanFill')),
            'fill=MeanFill has no effect on MaskedViT, which encodes visible tokens only',
        ),
        (
            dict(residual=dict(type='SmoothFill'), target=[dict(type='NormPix')]),
            'residual=SmoothFill is added to a prediction of pixels, but MaskedPixelLoss on 1 targ',
        ),
        (
            dict(backbone=GATHER),
            'PixelShuffleDecoder takes a whole map, but MaskedViT',
        ),
        (
            dict(neck=MAE),
            'TransformerDecoder takes the visible .* MaskedViT is in token mode',
        ),
        (
            dict(neck=RGB, loss=dict(type='GaussianLikelihood')),
            'predicts 3 channels, but GaussianLikelihood .* needs 6: set out_channels=6',
        ),
        (
            dict(neck=RGB, loss=dict(type='ColorBins', bins=8), target=UNIT),
            'predicts 3 channels, but ColorBins on a target of 3 channels needs 24',
        ),
        (dict(neck=RGB, channels=4), 'predicts 3 channels, but MaskedPixelLoss on a target of 4'),
        (dict(neck=RGB, target=[dict(type='HOG')]), 'on a target of 27 channels needs 27'),
        (
            dict(loss=dict(type='GaussianLikelihood', variance='channel', channels=1)),
            'variance of 1 channels but the target has 3: set channels=3',
        ),
        (
            dict(loss=dict(type='PixelCrossEntropy')),
            "PixelCrossEntropy needs a target of kind 'unit', but this one is 'pixels'.*UnitRange",
        ),
        (
            dict(loss=dict(type='ColorBins'), target=[*UNIT, dict(type='NormPix')]),
            "ColorBins needs a target of kind 'unit', but this one is 'normalized'",
        ),
        (dict(target=[dict(type='NormPix'), *UNIT]), 'UnitRange needs pixels, but after NormPix'),
        (
            dict(backbone=dict(VIT, in_channels=3), channels=4),
            'in_channels=3 in backbone, but data_preprocessor .* 4 channels: set it to 4 or leave',
        ),
        (
            dict(neck=dict(LINEAR, in_channels=16)),
            'in_channels=16 in PixelShuffleDecoder, but .* MaskedViT have 8 .* set it to 8 or',
        ),
        (
            dict(neck=dict(type='PixelShuffleDecoder'), target=[dict(type='HOG', cell=16)]),
            'one value for 16x16 pixels, but MaskedViT one position for 8: .* cell of HOG',
        ),
        (
            dict(neck=dict(type='InverseSwinDecoder', arch=dict(depths=[1] * 5, **SWIN))),
            'InverseSwinDecoder of 5 stages enlarges a map by 16, but 8 pixels .* fewer stages',
        ),
    ],
)
def test_is_refused_with_the_reason(kwargs, message):
    with pytest.raises(ValueError, match=message):
        build(**kwargs)


@pytest.mark.parametrize(
    ('neck', 'target', 'message'),
    [
        (dict(LINEAR, stride=4), [], '3x16x16, but MaskedPixelLoss on a target of 3x32x32 needs'),
        (LINEAR, [dict(type='LowResolution', factor=2)], '3x32x32, but .* of 3x16x16'),
    ],
)
def test_sizes_that_differ_are_told_at_the_first_image(neck, target, message):
    model = build(neck=neck, target=target)
    sample = BaseDataElement(mask=torch.ones(4, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match=message):
        model(torch.zeros(1, 3, 32, 32), [sample], mode='loss')


def test_mask_tokens_that_get_no_gradient_are_frozen():
    """Distributed training wants a gradient for every trainable parameter."""
    assert build().backbone.mask_token.requires_grad
    model = build(fill=dict(type='NoiseFill'))
    sample = BaseDataElement(mask=torch.eye(4, dtype=torch.bool))
    model(torch.zeros(1, 3, 32, 32), [sample], mode='loss')['loss'].backward()
    without = {n for n, p in model.named_parameters() if p.requires_grad and p.grad is None}
    assert not without and not model.backbone.mask_token.requires_grad


def test_a_fill_hides_masked_pixels_from_an_encoder_without_mask():
    model = build(fill=dict(type='MeanFill', of='image')).eval()
    model.init_weights()
    x, mask = torch.randn(2, 3, 32, 32), torch.rand(2, 4, 4) < 0.5
    hidden = mask.repeat_interleave(8, 1).repeat_interleave(8, 2).unsqueeze(1)
    pictures = [model.reconstruct(images, mask) for images in (x, torch.where(hidden, 9.0, x))]
    torch.testing.assert_close(pictures[0]['prediction'], pictures[1]['prediction'])
    features = model.backbone(model.fill(x, mask))
    expected = model.data_preprocessor.denormalize(model.neck(features, mask))
    torch.testing.assert_close(pictures[0]['prediction'], expected)


PREDICTIONS = {
    'gaussian': (dict(type='GaussianLikelihood'), [], 6, 1),
    'gaussian, low resolution': (
        dict(type='GaussianLikelihood'),
        [dict(type='LowResolution', factor=4)],
        6,
        4,
    ),
    'cross-entropy': (dict(type='PixelCrossEntropy'), UNIT, 3, 1),
    'cross-entropy, low frequencies': (
        dict(type='PixelCrossEntropy'),
        [dict(type='LowFreq', radius=6), *UNIT],
        3,
        1,
    ),
    'bins': (dict(type='ColorBins', bins=256), UNIT, 768, 1),
    'bins, low resolution': (
        dict(type='ColorBins', bins=256),
        [dict(type='LowResolution', factor=8), *UNIT],
        768,
        8,
    ),
}


@pytest.mark.parametrize('name', PREDICTIONS)
def test_a_perfect_prediction_is_drawn_as_the_target(name, monkeypatch):
    loss, target, channels, factor = PREDICTIONS[name]
    model = build(
        loss=loss, target=target, neck=dict(LINEAR, stride=8 // factor, out_channels=channels)
    ).eval()
    torch.manual_seed(0)
    x = model.data_preprocessor.normalize(torch.randint(0, 256, (2, 3, 32, 32)))
    mask = torch.rand(2, 4, 4) < 0.5

    values = model.target(x)
    if loss['type'] == 'GaussianLikelihood':
        perfect = torch.cat([values, torch.randn_like(values)], 1)
    elif loss['type'] == 'PixelCrossEntropy':
        perfect = values.double().logit(1e-9)
    else:
        index = model.head.loss_fn.to_bins(values)
        perfect = 300.0 * torch.nn.functional.one_hot(index, 256).movedim(-1, 2).flatten(1, 2)
    monkeypatch.setattr(model.neck, 'forward', lambda feats, mask: perfect)
    pictures = model.reconstruct(x, mask)
    # bins round averages to gray levels
    torch.testing.assert_close(pictures['prediction'], pictures['target'], rtol=0, atol=0.51)
    coarse = torch.nn.functional.avg_pool2d(pictures['original'], factor)
    if 'frequencies' not in name:
        shown = torch.nn.functional.avg_pool2d(pictures['target'], factor)
        torch.testing.assert_close(shown, coarse, rtol=0, atol=1e-3)


def test_features_are_not_drawn():
    model = build(target=[dict(type='HOG')], neck=dict(LINEAR, stride=1, out_channels=27))
    with pytest.raises(ValueError, match=r'not an image \(HOG\)'):
        model.reconstruct(torch.zeros(1, 3, 32, 32), torch.ones(1, 4, 4, dtype=torch.bool))


@pytest.mark.parametrize('parts', [{}, dict(backbone=GATHER, neck=MAE)], ids=['token', 'gather'])
def test_a_residual_is_added_to_what_the_decoder_predicts(parts):
    torch.manual_seed(0)
    model = build(residual=dict(type='SmoothFill'), **parts).eval()
    images, mask = torch.randn(2, 3, 32, 32), torch.rand(1, 4, 4).argsort(2) < 2
    mask = mask.expand(2, 4, 4).contiguous()
    samples = [BaseDataElement(mask=m) for m in mask]
    start = model.residual(images, mask)
    decoded = model.neck(model.backbone(images, mask), mask)
    hidden = mask.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None]
    error = ((start + decoded - images).abs() * hidden).sum() / hidden.sum() / 3
    torch.testing.assert_close(model.loss(images, samples)['loss'], error)
    one_by_one = [s.masked_losses['loss'] for s in model.predict(images, samples)]
    assert sum(one_by_one) / 2 == pytest.approx(error.item(), rel=1e-4)
    drawn = model.reconstruct(images, mask)['prediction']
    torch.testing.assert_close(drawn, (start + decoded) * 60 + 120)
