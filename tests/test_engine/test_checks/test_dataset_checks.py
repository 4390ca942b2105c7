import numpy as np
import pytest
from mmengine.registry import init_default_scope

from simmim_mm.datasets import DataError, ImageDataset
from simmim_mm.engine.checks import check_dataset

PACK = dict(type='mmpretrain.PackInputs', algorithm_keys=['mask'])
CROP = dict(type='RandomResizedCrop', scale=32)
MASK = dict(type='RandomBlockMask', mask_patch_size=8)


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('simmim_mm')


def check(folder, *steps, load=None, **kwargs):
    pipeline = [load or dict(type='LoadImage'), *steps]
    return check_dataset(ImageDataset(str(folder), pipeline=pipeline, **kwargs), 'train.dataset')


def test_a_good_dataset_gives_its_first_sample(folder):
    sample = check(folder, CROP, MASK, PACK)
    assert sample['inputs'].shape == (3, 32, 32)
    assert sample['data_samples'].mask.shape == (4, 4)


def test_unreadable_files_are_skipped(folder, bad_files):
    check(folder, CROP, MASK, PACK)


def test_a_mask_that_does_not_fit_is_reported_with_its_step_and_file(folder):
    message = r'train.dataset: step 3 .*RandomBlockMask.*00.jpg.*mask_patch_size=24 .*32 x 32'
    with pytest.raises(DataError, match=message):
        check(folder, CROP, dict(MASK, mask_patch_size=24), PACK)


def test_a_missing_pack_step_is_reported(folder):
    with pytest.raises(DataError, match='PackInputs'):
        check(folder, CROP, MASK)


def test_images_of_unequal_shape_are_reported(folder):
    np.save(folder / 'zzz.npy', np.zeros((80, 80, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=r'\(3, 48, 40\), \(3, 80, 80\); add a crop'):
        check(folder, PACK, indices=[0, -1])


def test_files_with_the_wrong_number_of_channels_are_reported(folder):
    with pytest.raises(DataError, match=r'none of 14 images.*3 channels.*channels=5'):
        check(folder, CROP, MASK, PACK, load=dict(type='LoadImage', channels=5))


@pytest.mark.parametrize('channels', [1, 5])
def test_oblong_images_of_any_number_of_channels(tmp_path, channels):
    for i in range(3):
        np.save(tmp_path / f'{i}.npy', np.random.rand(channels, 120, 200).astype(np.float32))
    sample = check(
        tmp_path,
        dict(CROP, scale=(96, 160)),
        dict(MASK, mask_patch_size=32),
        PACK,
        load=dict(type='LoadImage', channels=channels),
    )
    assert sample['inputs'].shape == (channels, 96, 160)
    assert sample['data_samples'].mask.shape == (3, 5)
