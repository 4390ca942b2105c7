"""Augmentations move the image and its foreground map alike, and come before the mask."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import Compose

from simmim_mm.datasets.transforms import TorchvisionTransform
from simmim_mm.registry import TRANSFORMS

GEOMETRY = {
    'rotation': dict(type='RandomRotation', degrees=40),
    'rotation, whole': dict(type='RandomRotation', degrees=40, expand=True),
    'affine': dict(type='RandomAffine', degrees=20, translate=(0.1, 0.2), shear=10),
    'perspective': dict(type='RandomPerspective', distortion_scale=0.4, p=1),
    'elastic': dict(type='ElasticTransform'),
}
COLORS = {
    'jitter': dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2),
    'blur': dict(type='GaussianBlur', kernel_size=5),
    'inversion': dict(type='RandomInvert', p=1.0),
}


def blobs(height=90, width=130, seed=0):
    """Smooth random 0/1 map."""
    noise = np.random.default_rng(seed).standard_normal((height, width))
    return (cv2.GaussianBlur(noise, (0, 0), 8) > 0).astype(np.uint8)


def picture(foreground, channels=3):
    """An image that shows its own map."""
    return np.repeat(foreground[..., None] * np.uint8(200), channels, -1)


@pytest.mark.parametrize('name', GEOMETRY)
def test_the_map_stays_on_the_image(name):
    options = GEOMETRY[name]
    nearest = TorchvisionTransform(dict(options, interpolation=0))
    smooth = TorchvisionTransform(dict(options, interpolation=2))
    for seed in range(1, 9):  # the first angle of seed 0 is next to nothing
        foreground = blobs(seed=seed)
        results = dict(img=picture(foreground), gt_seg_map=foreground)
        torch.manual_seed(seed)
        exact = nearest(dict(results))
        np.testing.assert_array_equal(exact['img'][..., 0] > 100, exact['gt_seg_map'])
        assert set(np.unique(exact['img'])) == {0, 200}
        assert exact['img_shape'] == exact['img'].shape[:2]
        assert not np.array_equal(exact['img'], results['img'])
        torch.manual_seed(seed)
        moved = smooth(dict(results))
        np.testing.assert_array_equal(moved['gt_seg_map'], exact['gt_seg_map'])
        assert np.mean((moved['img'][..., 0] > 100) == moved['gt_seg_map']) > 0.97


@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
@pytest.mark.parametrize('channels', [1, 3, 5])
def test_a_quarter_turn_is_a_quarter_turn(channels, dtype):
    rng = np.random.default_rng(0)
    img = rng.integers(0, 256, (24, 24, channels)).astype(dtype)
    results = dict(img=img[:, ::-1], gt_seg_map=blobs(24, 24)[:, ::-1])  # views, as of a flip
    turned = TorchvisionTransform(dict(type='RandomRotation', degrees=(90, 90)))(dict(results))
    np.testing.assert_array_equal(turned['img'], np.rot90(results['img']))
    np.testing.assert_array_equal(turned['gt_seg_map'], np.rot90(results['gt_seg_map']))
    assert turned['img'].dtype == dtype and turned['gt_seg_map'].dtype == np.uint8


@pytest.mark.parametrize(
    ('kind', 'options'),
    [('RandomAffine', dict(degrees=0, translate=(0.5, 0.5))), ('RandomRotation', dict(degrees=45))],
)
def test_what_comes_in_from_outside_has_the_color_given_and_is_background(kind, options):
    ones = np.ones((40, 40), np.uint8)
    color = [124, 116, 104]
    torch.manual_seed(1)
    results = TorchvisionTransform(dict(type=kind, **options, fill=color))(
        dict(img=picture(ones), gt_seg_map=ones)
    )
    outside = (results['img'] == color).all(-1)
    np.testing.assert_array_equal(results['gt_seg_map'], ~outside)
    assert 0.02 < outside.mean() < 0.9


@pytest.mark.parametrize('name', COLORS)
def test_colors_change_the_image_alone(name):
    foreground = blobs()
    torch.manual_seed(1)
    results = TorchvisionTransform(COLORS[name])(
        dict(img=picture(foreground), gt_seg_map=foreground.copy())
    )
    np.testing.assert_array_equal(results['gt_seg_map'], foreground)
    assert (results['img'] != picture(foreground)).any()


def test_images_without_a_map_need_none():
    torch.manual_seed(1)
    results = TorchvisionTransform(GEOMETRY['rotation'])(dict(img=picture(blobs())))
    assert 'gt_seg_map' not in results and (results['img'] != picture(blobs())).any()


def test_the_share_of_images():
    np.random.seed(0)
    invert = TorchvisionTransform(COLORS['inversion'], prob=0.3)
    changed = [invert(dict(img=np.zeros((2, 2, 3), np.uint8)))['img'].any() for _ in range(1000)]
    assert abs(np.mean(changed) - 0.3) < 5 * np.sqrt(0.21 / 1000)


@pytest.mark.parametrize('name', [*GEOMETRY, 'jitter'])
def test_masks_of_objects_lie_on_the_objects_seen(name):
    """The whole pipeline, in the order of docs/reference/masks.md."""
    steps = [
        dict(type='TorchvisionTransform', transform={**GEOMETRY, **COLORS}[name]),
        dict(type='RandomResizedCrop', scale=64, crop_ratio_range=(0.5, 1.0)),
        dict(type='mmpretrain.RandomFlip', prob=0.5),
        dict(type='SemanticMask', mask_patch_size=8, mask_ratio=0.2),
        dict(type='PackInputs', algorithm_keys=['mask', 'foreground']),
    ]
    pipeline = Compose([TRANSFORMS.build(step) for step in steps])
    for seed in range(8):
        np.random.seed(seed)
        torch.manual_seed(seed)
        foreground = blobs(seed=seed)
        packed = pipeline(dict(img=picture(foreground), gt_seg_map=foreground))
        sample, seen = packed['data_samples'], packed['inputs'].float().mean(0).numpy()
        chosen = sample.mask
        assert chosen.shape == (8, 8) and chosen.sum() == 13  # ceil(64 * 0.2)
        share = sample.foreground.reshape(8, 8, 8, 8).mean((1, 3))
        assert share[chosen].min() >= 0.25  # what makes a block foreground
        if name != 'jitter':  # the picture itself says so, too
            brightness = seen.reshape(8, 8, 8, 8).mean((1, 3))
            assert brightness[chosen].min() > 0.2 * 200


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(transform=dict(type='RandomTwist')), "no transform 'RandomTwist'"),
        (dict(transform=dict(type='functional')), "no transform 'functional'"),
        (dict(transform=COLORS['jitter'], prob=1.5), r'prob must be in \[0, 1\], got 1.5'),
    ],
)
def test_wrong_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        TorchvisionTransform(**kwargs)
