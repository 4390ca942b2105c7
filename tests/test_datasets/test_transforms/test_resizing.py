import numpy as np
import pytest
import torch
from mmpretrain.datasets import transforms as mmpretrain_transforms
from PIL import Image
from torchvision.transforms import RandomResizedCrop as TorchvisionCrop
from torchvision.transforms import functional as F

from simmim_mm.datasets.transforms import RandomResizedCrop, ResizeEdge
from simmim_mm.datasets.transforms.resizing import resize

RNG = np.random.default_rng(0)
RECIPE = dict(crop_ratio_range=(0.67, 1.0), aspect_ratio_range=(3 / 4, 4 / 3))


def photo(channels=3, shape=(70, 110)):
    return RNG.integers(0, 256, (*shape, channels), dtype=np.uint8)


@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic', 'lanczos'])
def test_equals_torchvision_on_pil_images(interpolation):
    img = photo()
    mode = F.InterpolationMode(interpolation)
    expected = F.resized_crop(Image.fromarray(img), 3, 5, 60, 90, [32, 48], mode)
    box = img[3:63, 5:95]
    np.testing.assert_array_equal(resize(box, (32, 48), interpolation, 'pillow'), expected)
    fast = resize(box, (32, 48), interpolation)
    np.testing.assert_allclose(fast.astype(int), np.asarray(expected, int), atol=1)


def test_equals_mmpretrain_with_its_pillow_backend_for_three_channels():
    img = photo()
    theirs = mmpretrain_transforms.RandomResizedCrop((32, 48), backend='pillow', **RECIPE)
    ours = RandomResizedCrop((32, 48), backend='pillow', **RECIPE)
    for seed in range(5):
        np.random.seed(seed)
        expected = theirs(dict(img=img))['img']
        np.random.seed(seed)
        np.testing.assert_array_equal(ours(dict(img=img))['img'], expected)


def test_takes_read_only_and_mirrored_arrays():
    img = photo()
    img.flags.writeable = False
    np.testing.assert_array_equal(resize(img, (32, 48)), resize(img.copy(), (32, 48)))
    np.testing.assert_array_equal(
        resize(img[:, ::-1], (32, 48)), resize(img[:, ::-1].copy(), (32, 48))
    )


def test_an_unknown_backend_is_refused():
    with pytest.raises(ValueError, match="backend must be 'auto' or 'pillow', got 'turbo'"):
        RandomResizedCrop(32, backend='turbo')


def test_boxes_follow_torchvisions_distribution():
    img = photo(1, (70, 110))
    crop = RandomResizedCrop(32, **RECIPE)
    np.random.seed(0)
    torch.manual_seed(0)
    ours = np.array([crop.rand_crop_params(img) for _ in range(4000)], dtype=float)
    ours = ours[:, [0, 1, 2, 3]]  # top, left, height, width
    pil = Image.fromarray(img[..., 0])
    theirs = np.array(
        [TorchvisionCrop.get_params(pil, [0.67, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)], float
    )
    for a, b in zip(ours.T, theirs.T):  # Kolmogorov-Smirnov; 99.9% level for 4000 against 4000
        values = np.union1d(a, b)
        cdf_a = np.searchsorted(np.sort(a), values, side='right') / len(a)
        cdf_b = np.searchsorted(np.sort(b), values, side='right') / len(b)
        assert np.abs(cdf_a - cdf_b).max() < 1.95 * np.sqrt(2 / 4000)


@pytest.mark.parametrize('channels', [1, 2, 4, 5, 13])
@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_channels_are_resized_independently_and_antialiased(channels, dtype):
    img = photo(channels).astype(dtype)
    out = RandomResizedCrop((32, 48), crop_ratio_range=(1, 1), aspect_ratio_range=(11 / 7, 11 / 7))(
        dict(img=img)
    )
    assert out['img'].shape == (32, 48, channels)
    assert out['img_shape'] == (32, 48)
    assert out['img'].dtype == dtype
    tensor = torch.from_numpy(img).permute(2, 0, 1)[None].float()
    expected = torch.nn.functional.interpolate(
        tensor, (32, 48), mode='bilinear', antialias=True, align_corners=False
    )[0].permute(1, 2, 0)
    atol = 1.01 if dtype == np.uint8 else 0.01
    np.testing.assert_allclose(out['img'], expected, atol=atol)


def test_a_band_is_not_weighed_by_the_last_one():
    img = photo(4)
    img[..., 3] = 0  # as an alpha channel this would blank the others
    np.testing.assert_array_equal(resize(img, (20, 30))[..., :3], resize(img[..., :3], (20, 30)))


def test_other_types_are_refused():
    with pytest.raises(TypeError, match='uint16'):
        resize(np.zeros((4, 4, 1), dtype=np.uint16), (2, 2))


@pytest.mark.parametrize('channels', [1, 3, 5])
@pytest.mark.parametrize(('edge', 'size'), [('short', (32, 50)), ('long', (20, 32))])
def test_resize_edge_keeps_the_aspect(channels, edge, size):
    img = photo(channels)
    out = ResizeEdge(32, edge=edge)(dict(img=img))
    np.testing.assert_array_equal(out['img'], resize(img, size))
    assert out['scale_factor'] == (size[1] / 110, size[0] / 70)
