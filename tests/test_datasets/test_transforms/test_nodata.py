"""No-data from the file to the loss."""

import numpy as np
import pytest
import tifffile
import torch
from mmcv.transforms import Compose
from mmengine.registry import init_default_scope

from simmim_mm.datasets import UnreadableImage
from simmim_mm.datasets.transforms import LoadImage, RandomBlockMask
from simmim_mm.datasets.transforms.nodata import add_nodata, nodata_of, spare_nodata
from simmim_mm.models.heads import PixelHead
from simmim_mm.registry import TRANSFORMS

MASKS = ['RandomBlockMask', 'SquareMask', 'RectangleMask', 'BlockWiseMask', 'UniformMask']


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('simmim_mm')


def write_tile(path, value=-9999.0, size=64):
    """A tile of four channels without data left of x = 24; returns it, and where that is."""
    image = np.random.default_rng(0).random((size, size, 4)).astype(np.float32)
    image[:, :24] = value
    tags = [(42113, 's', 0, str(value), True)]
    kwargs = dict(photometric='minisblack', planarconfig='contig', extratags=tags)
    tifffile.imwrite(path, image, **kwargs)
    return image, np.broadcast_to(np.arange(size) < 24, (size, size))


def load(path, **kwargs):
    return LoadImage(channels=4, **kwargs)(dict(img_path=str(path)))


@pytest.mark.parametrize('value', [-9999.0, -3.4e38, 0.0, np.nan])
@pytest.mark.parametrize('from_file', [False, True])
def test_an_area_without_data_is_flat(tmp_path, value, from_file):
    image, where = write_tile(tmp_path / 'a.tif', value)
    results = load(tmp_path / 'a.tif', nodata='file' if from_file else value)
    np.testing.assert_array_equal(nodata_of(results), where)
    np.testing.assert_array_equal(results['img'][~where], image[~where])
    mean = image[~where].mean(0)
    np.testing.assert_allclose(results['img'][where] - mean, 0, atol=1e-5)


def test_a_file_without_data_is_unreadable(tmp_path):
    np.save(tmp_path / 'a.npy', np.full((8, 8, 4), -1.0))
    with pytest.raises(UnreadableImage, match='nothing but no-data'):
        load(tmp_path / 'a.npy', nodata=-1)


def test_percentiles_leave_no_data_out(tmp_path):
    _, where = write_tile(tmp_path / 'a.tif')
    img = load(tmp_path / 'a.tif', nodata=-9999, window=('0%', '100%'))['img']
    assert img[~where].min() == 0 and img[~where].max() == 255


@pytest.mark.parametrize('direction', ['horizontal', 'vertical'])
def test_crops_and_flips_take_it_along(tmp_path, direction):
    """The map says no-data where a marked image is marked."""
    write_tile(tmp_path / 'a.tif')
    results = load(tmp_path / 'a.tif', nodata=-9999)
    results['img'] = np.repeat(nodata_of(results)[..., None], 4, -1).astype(np.float32)
    flip = dict(type='mmpretrain.RandomFlip', prob=1.0, direction=direction)
    crop = dict(type='RandomResizedCrop', scale=64, interpolation='nearest')
    results = Compose([TRANSFORMS.build(step) for step in (crop, flip)])(results)
    np.testing.assert_array_equal(nodata_of(results), results['img'][..., 0] > 0)


def test_a_crop_of_the_image_alone_is_reported(tmp_path):
    write_tile(tmp_path / 'a.tif')
    results = load(tmp_path / 'a.tif', nodata=-9999)
    results['img'] = results['img'][:32, :32]
    with pytest.raises(ValueError, match='map of no-data has'):
        RandomBlockMask(8)(results)


def test_foreground_and_no_data_share_the_map(tmp_path):
    write_tile(tmp_path / 'a.tif', 0.0)
    steps = [dict(type='SaliencyForeground'), dict(type='SemanticMask', mask_patch_size=8)]
    steps.append(dict(type='PackInputs', algorithm_keys=['mask', 'nodata', 'foreground']))
    results = load(tmp_path / 'a.tif', nodata=0)
    results['img'] = results['img'][..., :3].copy()
    sample = Compose([TRANSFORMS.build(step) for step in steps])(results)['data_samples']
    assert set(np.unique(sample.foreground)) <= {0, 1}
    assert sample.nodata.sum() == 64 * 24


@pytest.mark.parametrize('kind', MASKS)
def test_blocks_without_data_do_not_use_up_the_mask(kind):
    """Both kinds of blocks have the same masked fraction, and the number stays."""
    kwargs = {} if kind == 'UniformMask' else dict(mask_ratio=0.4)
    transform = TRANSFORMS.build(dict(type=kind, mask_patch_size=8, **kwargs))
    nodata = np.zeros((64, 128), bool)
    nodata[:, :48] = True
    expected = transform(dict(img=np.zeros((64, 128, 1))))['mask'].sum()
    empty = nodata.reshape(8, 8, 16, 8).all((1, 3))
    for seed in range(20):
        np.random.seed(seed)
        results = dict(img=np.zeros((64, 128, 1)))
        add_nodata(results, nodata)
        mask = transform(results)['mask']
        assert mask.sum() == expected
        assert mask[~empty].mean() == pytest.approx(expected / 128, abs=0.01)
        np.testing.assert_array_equal(results['nodata'], nodata)


def test_without_no_data_masks_stay_what_they_were():
    masks = []
    for declared in (False, True):
        results = dict(img=np.zeros((64, 64, 1)))
        if declared:
            add_nodata(results, np.zeros((64, 64), bool))
        np.random.seed(0)
        masks.append(RandomBlockMask(8)(results)['mask'])
    np.testing.assert_array_equal(*masks)


def test_an_image_without_data_keeps_its_mask():
    mask = np.random.default_rng(0).random((6, 6)) < 0.5
    np.testing.assert_array_equal(spare_nodata(mask, np.ones((6, 6), bool)), mask)


@pytest.mark.parametrize('masked_only', [True, False])
def test_the_loss_is_that_of_the_pixels_with_data(masked_only):
    torch.manual_seed(0)
    pred, target = torch.randn(2, 3, 16, 16), torch.randn(2, 3, 16, 16)
    mask, valid = torch.rand(2, 4, 4) < 0.6, torch.rand(2, 1, 16, 16) < 0.7
    head = PixelHead(masked_only=masked_only)
    counts = valid.expand_as(pred)
    if masked_only:
        counts = counts & mask.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, None]
    expected = (pred - target).abs()[counts].mean()
    torch.testing.assert_close(head.loss(pred, target, mask, valid)['loss'], expected)
    elsewhere = torch.where(counts, target, target + 1e6)
    torch.testing.assert_close(head.loss(pred, elsewhere, mask, valid)['loss'], expected)


def test_a_coarser_target_counts_by_the_fraction_with_data():
    pred, target = torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    target[..., 0, 0] = -2  # an error of 3
    valid = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    valid[..., :4, :2] = False
    loss = PixelHead(masked_only=False).loss(pred, target, torch.ones(1, 2, 2).bool(), valid)
    assert float(loss['loss']) == pytest.approx((3 * 0.5 + 3) / 3.5, rel=1e-5)
