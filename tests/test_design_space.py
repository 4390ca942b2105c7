"""What can be chosen, combined: every choice learns, whatever the others are.

Each factor is a table of choices; whoever adds a mask, fill, loss, decoder or encoder adds a line.
All pairs of the factors in ``NEIGHBORS`` occur in at least one model that is built and trained for
ten steps on one batch, except for pairs that are refused, which have to be refused by name.
"""

import random
from itertools import product

import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement

from simmim_mm.masking import upsample_mask
from simmim_mm.registry import MODELS, TRANSFORMS

SIZE = (32, 48)
STRIDE = 8  # pixels per position of the last feature map, of every encoder here
VIT = dict(embed_dims=16, num_layers=1, num_heads=2, feedforward_channels=32)
SWIN = dict(embed_dims=8, depths=[1, 1], num_heads=[1, 2])


def vit(**kwargs):
    return dict(arch=VIT, img_size=SIZE, patch_size=STRIDE, **kwargs)


def swin(**kwargs):
    return dict(img_size=SIZE, window_size=4, out_indices=(1,), **kwargs)


MASKS = {
    'random blocks': dict(type='RandomBlockMask', mask_ratio=0.6),
    'square': dict(type='SquareMask', mask_ratio=0.4),
    'rectangles': dict(type='RectangleMask', mask_ratio=0.5, num_rectangles=2),
    'uniform': dict(type='UniformMask'),
    'block-wise': dict(type='BlockWiseMask', mask_ratio=0.5),
    'semantic': dict(type='SemanticMask', mask_ratio=0.6, foreground_ratio=0.8),
}
BASELINES = {
    'mask token': None,
    'dataset mean': dict(type='MeanFill', of='dataset'),
    'image mean': dict(type='MeanFill', of='image'),
    'Gaussian noise': dict(type='NoiseFill', distribution='gaussian'),
    'uniform noise': dict(type='NoiseFill', distribution='uniform'),
    'black': dict(type='ConstantFill', value=0),
}
# loss, targets and channels that the decoder predicts
LOSSES = {
    'L1': (dict(type='MaskedPixelLoss', criterion='l1'), [], 3),
    'L2, local norm': (
        dict(type='MaskedPixelLoss', criterion='l2'),
        [dict(type='LocalNorm', patch_size=3)],
        3,
    ),
    'smooth L1, low frequencies': (
        dict(type='MaskedPixelLoss', criterion='smooth_l1'),
        [dict(type='LowFreq', radius_ratio=0.4)],
        3,
    ),
    'L2, HOG': (
        dict(type='MaskedPixelLoss', criterion='l2'),
        [dict(type='HOG', cell=8)],
        27,
    ),
    'Gaussian, fixed variance': (dict(type='GaussianLikelihood', variance='fixed'), [], 3),
    'Gaussian, variance of channels': (dict(type='GaussianLikelihood', variance='channel'), [], 3),
    'Gaussian, variance of pixels': (dict(type='GaussianLikelihood', variance='pixel'), [], 6),
    'cross-entropy': (dict(type='PixelCrossEntropy'), [dict(type='UnitRange')], 3),
    '8 bins': (dict(type='ColorBins', bins=8), [dict(type='UnitRange')], 24),
    '256 bins': (dict(type='ColorBins', bins=256), [dict(type='UnitRange')], 768),
}
RESOLUTIONS = {'full': 1, 'a quarter': 4, 'a token': 8}
AREAS = {'masked area': True, 'whole image': False}
# a second head, and what the samples have to hold for it
BRANCHES = {'no foreground branch': False, 'foreground branch': True}
# what follows from the encoder, the target and the loss is left out
HEADS = {
    'linear': lambda factor: dict(type='PixelShuffleDecoder'),
    'MLP': lambda factor: dict(type='MLPDecoder'),
    'inverse Swin': lambda factor: dict(
        type='InverseSwinDecoder',
        # a map of stride 8 to one of stride 4 or, for a value of each token, 8
        arch=SWIN if factor < 8 else dict(embed_dims=8, depths=[2], num_heads=[2]),
        window_size=4,
    ),
    'transformer': lambda factor: dict(
        type='TransformerDecoder', decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=2
    ),
}
# pixels per token, channels, config
ENCODERS = {
    'Swin': (4, 16, swin(type='MaskedSwin', arch=SWIN)),
    'Swin v2': (
        4,
        16,
        swin(type='MaskedSwinV2', arch=dict(SWIN, extra_norm_every_n_blocks=0)),
    ),
    'ViT': (8, 16, vit(type='MaskedViT', with_cls_token=False)),
    'BEiT': (8, 16, vit(type='MaskedBEiT')),
    'ResNet': (
        4,
        16,
        dict(
            type='MaskedResNet',
            depth=18,
            num_stages=2,
            strides=(1, 2),
            dilations=(1, 1),
            out_indices=(1,),
            stem_channels=8,
            base_channels=8,
        ),
    ),
    'ConvNeXt': (
        4,
        16,
        dict(type='MaskedConvNeXt', arch=dict(depths=[1, 1], channels=[8, 16]), out_indices=(1,)),
    ),
    "mmpretrain's, adapted": (
        8,
        16,
        dict(type='MaskedBackbone', backbone=vit(type='VisionTransformer', with_cls_token=False)),
    ),
    'MAE': (8, 16, vit(type='MaskedViT', mask_mode='gather')),
    'ConvMAE': (
        8,
        16,
        dict(
            type='MaskedConvViT',
            arch=dict(embed_dims=(8, 8, 16), depths=(1, 1, 1), num_heads=2, mlp_ratios=(2, 2, 2)),
            img_size=SIZE,
            patch_sizes=(2, 2, 2),
        ),
    ),
}
FACTORS = dict(
    mask=MASKS,
    fill=BASELINES,
    loss=LOSSES,
    resolution=RESOLUTIONS,
    head=HEADS,
    encoder=ENCODERS,
    area=AREAS,
    branch=BRANCHES,
)
NEIGHBORS = [
    ('mask', 'fill'),
    ('fill', 'loss'),
    ('loss', 'resolution'),
    ('resolution', 'head'),
    ('loss', 'head'),
    ('head', 'encoder'),
    ('encoder', 'mask'),
    ('encoder', 'fill'),
    ('loss', 'area'),
    ('mask', 'area'),
    ('head', 'branch'),
    ('encoder', 'branch'),
]
GATHER = {'MAE', 'ConvMAE'}


def refusal(choice: dict) -> str:
    """What the error says about a combination that is refused; empty if it is allowed."""
    gather = choice.get('encoder') in GATHER
    if gather and choice.get('fill', 'mask token') != 'mask token':
        return 'encodes visible tokens only'
    if 'encoder' in choice and 'head' in choice and gather != (choice['head'] == 'transformer'):
        return f'is in {"gather" if gather else "token"} mode'
    return ''


def combinations() -> tuple[list[dict], list[dict]]:
    """Combinations that cover all allowed pairs of neighbors, and the pairs that are refused."""
    rng = random.Random(0)
    pairs = [
        {a: x, b: y} for a, b in NEIGHBORS for x, y in product(FACTORS[a], FACTORS[b])
    ]  # fmt: skip
    refused = [pair for pair in pairs if refusal(pair)]
    open_pairs = [pair for pair in pairs if not refusal(pair)]
    chosen = []
    while open_pairs:
        candidates = []
        while len(candidates) < 60:
            row = {name: rng.choice(list(table)) for name, table in FACTORS.items()}
            row.update(open_pairs[0])
            if not refusal(row):
                candidates.append(row)
        best = max(
            candidates, key=lambda row: sum(pair.items() <= row.items() for pair in open_pairs)
        )
        chosen.append(best)
        open_pairs = [pair for pair in open_pairs if not pair.items() <= best.items()]
    return chosen, refused


CHOSEN, REFUSED = combinations()


def build(choice: dict):
    factor = RESOLUTIONS[choice['resolution']]
    loss, target, out_channels = LOSSES[choice['loss']]
    if choice['loss'] == 'L2, HOG':
        factor = 8  # its own resolution
    elif factor > 1:
        target = [dict(type='LowResolution', factor=factor), *target]
    stride, channels, encoder = ENCODERS[choice['encoder']]
    head = HEADS[choice['head']](factor)
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='MaskedImageModel',
            backbone=encoder,
            neck=head,
            head=dict(type='PixelHead', loss=loss, masked_only=AREAS[choice['area']]),
            target=target,
            fill=BASELINES[choice['fill']],
            foreground=dict(type='ForegroundBranch', neck=HEADS[choice['head']](1), loss_weight=0.3)
            if BRANCHES[choice['branch']]
            else None,
            data_preprocessor=dict(
                type='MIMDataPreprocessor', mean=[120.0, 110.0, 100.0], std=[60.0, 58.0, 56.0]
            ),
        )
    )
    model.init_weights()
    assert model.neck.out_channels == out_channels
    assert (model.backbone.token_stride, model.backbone.out_channels[-1]) == (stride, channels)
    return model


def batch(model, choice: dict) -> dict:
    """Four photographs, as it were: shades and an object each, with their masks."""
    rng = np.random.default_rng(0)
    mask = TRANSFORMS.build(dict(MASKS[choice['mask']], mask_patch_size=STRIDE))
    np.random.seed(0)
    y, x, _ = np.mgrid[: SIZE[0], : SIZE[1], :1] / 32
    images, samples = [], []
    for _ in range(4):
        slope, shade = rng.uniform(-80, 80, (2, 3)), rng.uniform(90, 160, 3)
        image = shade + slope[0] * (y - 0.5) + slope[1] * (x - 0.7)
        seg = (np.hypot(y - 0.5, x - rng.uniform(0.4, 1.1)) < 0.3).astype(np.uint8)
        image = np.where(seg, rng.uniform(0, 255, 3), image).clip(0, 255).astype(np.uint8)
        results = mask.transform(dict(img=image, gt_seg_map=seg[..., 0]))
        images.append(torch.from_numpy(image).permute(2, 0, 1))
        samples.append(BaseDataElement(mask=results['mask'], foreground=seg[..., 0]))
    return model.data_preprocessor(dict(inputs=images, data_samples=samples))


def text(choice: dict) -> str:
    return ' | '.join(choice.values())


@pytest.mark.parametrize('choice', CHOSEN, ids=text)
def test_learns(choice):
    model = build(choice)
    data = batch(model, choice)

    def losses() -> dict:  # in training mode noise would differ
        with torch.no_grad():
            return {k: float(v) for k, v in model.eval()(**data, mode='loss').items()}

    before = losses()
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), 3e-3)
    model.train()
    for _ in range(10):
        optimizer.zero_grad()
        model.parse_losses(model(**data, mode='loss'))[0].backward()
        missing = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
        optimizer.step()
    after = losses()
    assert after['loss'] < before['loss']
    # that of a foreground branch, which weighs less, may need more than ten steps to fall
    branch = 'loss_foreground'
    assert after.get(branch, 0) <= 1.02 * before.get(branch, 0)
    assert not missing, 'distributed training needs a gradient for every parameter'

    # what is masked has no influence
    inputs, mask = data['inputs'], model.stack_masks(data['data_samples'], data['inputs'])
    other = torch.where(upsample_mask(mask, SIZE), torch.randn_like(inputs), inputs)
    torch.testing.assert_close(*(predict(model, x, mask) for x in (inputs, other)))

    if model.target.invertible:
        pictures = model.reconstruct(inputs, mask)
        assert all(p.shape[-2:] == SIZE and p.isfinite().all() for p in pictures.values())


@torch.no_grad()
def predict(model, inputs, mask):
    feats = (
        model.backbone(inputs, mask)
        if model.fill is None
        else model.backbone(model.fill(inputs, mask))
    )
    return model.neck(feats, mask)


@pytest.mark.parametrize('pair', REFUSED, ids=text)
def test_is_refused_with_the_reason(pair):
    usual = {name: next(iter(table)) for name, table in FACTORS.items()}
    if pair.get('encoder') in GATHER:
        usual['head'] = 'transformer'
    with pytest.raises(ValueError, match=refusal(pair)):
        build({**usual, **pair})
