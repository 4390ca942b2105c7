import numpy as np
import pytest
import torchvision.transforms.functional as F
from PIL import Image

from simmim_mm.registry import TRANSFORMS

SHAPES = [(50, 70), (300, 200), (224, 224), (96, 65), (500, 375), (31, 600)]


def build(type_, **kwargs):
    return TRANSFORMS.build(dict(type=f'simmim_mm.{type_}', **kwargs))


def smooth(height, width, channels=3, dtype=np.uint8):
    rows, cols = np.mgrid[:height, :width]
    waves = [127 + 120 * np.sin(rows / (9 + c) + cols / 17) for c in range(channels)]
    return np.stack(waves, -1).astype(dtype)


@pytest.mark.parametrize('shape', SHAPES)
def test_scales_as_torchvision_does(shape):
    img = smooth(*shape)
    expected = np.asarray(F.resize(Image.fromarray(img), 96))
    exact = build('ResizeToCover', size=96, backend='pillow')(dict(img=img))['img']
    np.testing.assert_array_equal(exact, expected)
    fast = build('ResizeToCover', size=96)(dict(img=img))['img']
    np.testing.assert_allclose(fast.astype(int), expected, atol=1)


@pytest.mark.parametrize('shape', SHAPES)
def test_simple_resized_crop_is_the_recipe_of_pixmim(shape):
    # torchvision: Resize(64), Pad(4, reflect), and any of the 64 x 64 windows of the result.
    padded = np.pad(
        np.asarray(F.resize(Image.fromarray(smooth(*shape)), 64)),
        ((4, 4), (4, 4), (0, 0)),
        'reflect',
    )
    windows = np.lib.stride_tricks.sliding_window_view(padded, (64, 64), (0, 1))
    crop = build('SimpleResizedCrop', size=64, backend='pillow')
    for seed in range(5):
        np.random.seed(seed)
        out = crop(dict(img=smooth(*shape)))['img'].transpose(2, 0, 1)
        assert (windows == out).all((2, 3, 4)).any()


def test_every_offset_is_as_likely():
    img = np.broadcast_to(np.arange(32)[:, None, None], (32, 32, 3)).astype(np.uint8)
    crop = build('SimpleResizedCrop', size=32)
    np.random.seed(0)
    # The middle row tells the offset: -4 to 4.
    rows = np.array([int(crop(dict(img=img))['img'][16, 0, 0]) - 16 for _ in range(1800)])
    counts = np.bincount(rows + 4, minlength=9)
    assert len(counts) == 9
    assert np.abs(counts - 200).max() < 5 * np.sqrt(200)


@pytest.mark.parametrize('size', [(64, 96), (96, 64), (33, 47)])
@pytest.mark.parametrize('shape', SHAPES)
def test_covers_sizes_of_any_aspect(size, shape):
    out = build('ResizeToCover', size=size)(dict(img=smooth(*shape)))
    height, width = out['img'].shape[:2]
    assert height >= size[0] and width >= size[1]
    assert height == size[0] or width == size[1]
    # The aspect ratio is kept to the pixel.
    assert abs(width - shape[1] * height / shape[0]) < max(1, shape[1] / shape[0])
    crop = build('SimpleResizedCrop', size=size)(dict(img=smooth(*shape)))
    assert crop['img'].shape == (*size, 3)
    assert crop['img_shape'] == size


@pytest.mark.parametrize('channels', [1, 2, 4, 6])
@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_channels_are_treated_alike(channels, dtype):
    img = smooth(70, 50, channels, dtype)
    crop = build('SimpleResizedCrop', size=48)
    np.random.seed(1)
    together = crop(dict(img=img))['img']
    assert together.shape == (48, 48, channels)
    assert together.dtype == dtype
    for c in range(channels):
        np.random.seed(1)
        np.testing.assert_array_equal(
            crop(dict(img=img[..., c : c + 1]))['img'][..., 0], together[..., c]
        )


def test_central_crop_composes():
    results = dict(img=smooth(80, 90))
    expected = F.center_crop(F.resize(Image.fromarray(results['img']), 60), (60, 60))
    results = build('ResizeToCover', size=60)(results)
    results = TRANSFORMS.build(dict(type='mmpretrain.CenterCrop', crop_size=60))(results)
    np.testing.assert_array_equal(results['img'], np.asarray(expected))


@pytest.mark.parametrize('size', [0, (3,), (2, 3, 4)])
def test_refuses_sizes_that_are_none(size):
    with pytest.raises(ValueError, match='size must be'):
        build('ResizeToCover', size=size)


def test_refuses_more_reflection_than_image():
    with pytest.raises(ValueError, match='cannot reflect 4 pixels'):
        build('SimpleResizedCrop', size=4)
