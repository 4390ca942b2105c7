"""Values against mean and std, and sizes against what the model sees."""

import numpy as np
import pytest
import tifffile
from mmengine.registry import init_default_scope
from PIL import Image

from simmim_mm.datasets import DataError, ImageDataset
from simmim_mm.engine.checks.sizes import check_sizes
from simmim_mm.engine.checks.trace import trace_images
from simmim_mm.engine.checks.values import check_contrast, check_values

IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
CROP = dict(type='RandomResizedCrop', scale=32, crop_ratio_range=(0.67, 1.0))
MASK = dict(type='RandomBlockMask', mask_patch_size=8)
PACK = dict(type='mmpretrain.PackInputs', algorithm_keys=['mask', 'nodata'])


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('simmim_mm')


def traces(folder, *steps, **load):
    pipeline = [dict(type='LoadImage', **load), *(steps or (CROP, MASK, PACK))]
    return trace_images(ImageDataset(str(folder), pipeline=pipeline))[1]


def check(folder, preprocessor=IMAGENET, **load):
    return check_values(traces(folder, **load), preprocessor, 'train.dataset')


def blobs(low, high, dtype, channels=None, size=48):
    """Five soft images with values from low to high."""
    images = []
    for seed in range(5):
        values = np.random.default_rng(seed).random((size, size, channels or 1))
        values[: size // 2] *= 0.5
        values = (values - values.min()) / (values.max() - values.min())
        images.append((low + values * (high - low)).astype(dtype))
    return [image if channels else image[..., 0] for image in images]


def save(folder, images):
    for i, image in enumerate(images):
        if image.ndim == 2 or image.shape[-1] == 3:
            tifffile.imwrite(folder / f'{i}.tif', image)
        else:
            np.save(folder / f'{i}.npy', image)


UNFIT = {
    '12 bits': (blobs(0, 4095, np.uint16), 'window=(0, 4095).*leaves 17 of 256 gray levels'),
    'color': (blobs(0, 4095, np.uint16, 3), 'window=(0, 4095).*leaves 17 of 256 gray levels'),
    'narrow': (blobs(800, 1200, np.uint16), 'leaves 3 of 256.*window=(800, 1200)'),
    'CT': (blobs(-1000, 40, np.int16), 'mean=[.*window=(-1000, 40)'),
    'unit': (blobs(0, 1, np.float32), 'mean=[.*window=(0, 1)'),
    'constant': ([np.full((48, 48), i, np.uint8) for i in range(5)], 'all pixels are the same'),
}


@pytest.mark.parametrize('kind', UNFIT)
def test_one_warning_says_what_to_set(tmp_path, kind):
    images, expected = UNFIT[kind]
    save(tmp_path, images)
    (text,) = check(tmp_path)
    assert text.startswith('train.dataset: the values of the images do not suit the config. ')
    assert f'such as {tmp_path}' in text
    for part in expected.split('.*'):
        assert part in text


def test_the_line_that_is_advised_ends_the_warning(tmp_path):
    save(tmp_path, blobs(0, 4095, np.uint16))
    for window in ((0, 4095), ('1%', '99%')):
        assert not check(tmp_path, window=window)
    assert not check(tmp_path, dict(mean=[2000.0], std=[1000.0]), channels=1)


@pytest.mark.parametrize('factor', [257, 1 / 257])
def test_statistics_of_another_range(tmp_path, factor):
    save(tmp_path, blobs(10000, 50000, np.uint16, 7))
    right = dict(mean=[30000.0] * 7, std=[12000.0] * 7)
    assert not check(tmp_path, right, channels=7)
    wrong = {key: [x * factor for x in value] for key, value in right.items()}
    (text,) = check(tmp_path, wrong, channels=7)
    assert '(uint16), have values from 10000 to 50000' in text
    means = eval(text.partition('Set mean=')[2].partition(' and')[0])
    assert len(means) == 7 and all(20000 < x < 40000 for x in means)


@pytest.mark.parametrize('low', [0, 40, 200])
@pytest.mark.parametrize('high', [30, 120, 255])
def test_photographs_dark_or_bright_are_left_alone(tmp_path, low, high):
    if low < high:
        save(tmp_path, blobs(low, high, np.uint8, 3))
        assert not check(tmp_path)
        assert not check(tmp_path, {})


def test_photographs_of_16_bits_are_left_alone(tmp_path):
    save(tmp_path, blobs(0, 65535, np.uint16))
    assert not check(tmp_path)


def tiles(folder, value, declared=None, dtype=np.float32):
    tags = [] if declared is None else [(42113, 's', 0, declared, True)]
    for i, image in enumerate(blobs(0, 1, dtype, 4)):
        image[:20, :20] = value
        kwargs = dict(photometric='minisblack', planarconfig='contig', extratags=tags)
        tifffile.imwrite(folder / f'{i}.tif', image, **kwargs)


FOUR = dict(mean=[0.4] * 4, std=[0.3] * 4)


def test_a_far_value_is_named_with_the_setting(tmp_path):
    tiles(tmp_path, -9999)
    (text,) = check(tmp_path, FOUR, channels=4)
    line = "dict(type='simmim_mm.LoadImage', channels=4, nodata=-9999.0)"
    place = 'in the place of the loader, the first step of train.dataset.pipeline'
    assert f'Write {line} {place}: 17.4% of ' in text
    assert 'has the value -9999.0, far from all others' in text
    assert not check(tmp_path, FOUR, channels=4, nodata=-9999.0)


def test_values_that_no_training_survives_are_an_error(tmp_path):
    tiles(tmp_path, -3.4e38)
    with pytest.raises(DataError, match=r'the training does not start.* nodata=-3.4e\+38\)'):
        check(tmp_path, FOUR, channels=4)
    assert not check(tmp_path, FOUR, channels=4, nodata=-3.4e38)


def test_the_files_own_word_is_passed_on(tmp_path):
    tiles(tmp_path, 0, declared='0')
    (text,) = check(tmp_path, FOUR, channels=4)
    assert 'the value 0.0, which it declares as no-data' in text and "nodata='file'" in text
    assert not check(tmp_path, FOUR, channels=4, nodata='file')


def test_no_data_that_does_not_reach_the_model_is_an_error(tmp_path):
    tiles(tmp_path, 0)
    steps = (CROP, MASK, dict(PACK, algorithm_keys=['mask']))
    found = traces(tmp_path, *steps, channels=4, nodata=0)
    with pytest.raises(DataError, match=r"algorithm_keys=\['mask', 'nodata'\]"):
        check_values(found, FOUR, 'train.dataset')


def large(folder, width=1200, height=800):
    noise = np.random.default_rng(0).integers(0, 255, (height, width), dtype=np.uint8)
    Image.fromarray(noise).save(folder / 'a.png')


@pytest.mark.parametrize(
    ('step', 'shrinkage'),
    [
        (CROP, (1200 * 800 * 0.835) ** 0.5 / 32),
        (dict(type='SimpleResizedCrop', size=32), 25),
        (dict(type='ResizeToCover', size=32), 25),
        (dict(type='mmpretrain.RandomCrop', crop_size=32), 1),
    ],
)
def test_shrinkage_is_that_of_the_pipeline(tmp_path, step, shrinkage):
    large(tmp_path)
    (trace,) = traces(tmp_path, step, dict(type='mmpretrain.CenterCrop', crop_size=32), MASK, PACK)
    assert trace.shrinkage == pytest.approx(shrinkage, rel=0.05)


def test_large_images_are_told_in_numbers(tmp_path):
    large(tmp_path)
    (text,) = check_sizes(traces(tmp_path), 'simmim_mm', 'train.dataset')
    assert '1200x800 pixels, are scaled to 43x29' in text
    assert 'an object 20 pixels wide becomes 0.7 pixels wide' in text
    line = "dict(type='simmim_mm.RandomResizedCrop', scale=32, crop_ratio_range=(0.001, 0.004))"
    assert f'keep them 10 pixels wide: crop smaller parts of the images, by {line}' in text
    crop = traces(tmp_path, dict(type='mmpretrain.RandomCrop', crop_size=96), MASK, PACK)
    for trained, window, stride in ((traces(tmp_path), 384, 288), (crop, 96, 72)):
        (text,) = check_sizes(traces(tmp_path), 'mmseg', 'x', trained)  # 400 pixels high
        assert f'crop_size=({window}, {window}) in RandomCrop' in text
        assert f"slide', crop_size=({window}, {window}), stride=({stride}, {stride})" in text
    assert 'scale=(600, 400), which is half' in check_sizes(traces(tmp_path), 'mmdet', 'x')[0]


def test_the_advised_crops_end_the_warning(tmp_path):
    large(tmp_path)
    crop = dict(CROP, crop_ratio_range=(0.001, 0.004))
    assert not check_sizes(traces(tmp_path, crop, MASK, PACK), 'simmim_mm', 'x')


def xrays(folder):
    """Noise of two gray levels, and a soft bright spot."""
    y, x = np.mgrid[:96, :96]
    for i in range(4):
        noise = np.random.default_rng(i).normal(4, 2, (96, 96))
        spot = 150 * np.exp(-((y - 48) ** 2 + (x - 48) ** 2) / 150)
        Image.fromarray((noise + spot).clip(0, 255).astype(np.uint8)).save(folder / f'{i}.png')


@pytest.mark.parametrize(
    'target', [dict(type='NormPix'), dict(type='simmim_mm.NormPix', patch_size=8)]
)
def test_patches_of_noise_are_told(tmp_path, target):
    xrays(tmp_path)
    crop = dict(type='ResizeToCover', size=96)
    found, gray = (
        traces(tmp_path, crop, MASK, PACK, channels='gray'),
        dict(mean=[116.0], std=[57.0]),
    )
    (text,) = check_contrast(found, gray, [target], 'x')
    assert f'patches of {target.get("patch_size", 16)} pixels are flat' in text
    settings = 'patch_size=8, ' if 'patch_size' in target else ''
    assert f"dict(type='simmim_mm.NormPix', {settings}min_std=0.05) in its place" in text
    assert not check_contrast(found, gray, [dict(target, min_std=0.05)], 'x')
    assert not check_contrast(found, gray, [], 'x')


def test_patches_of_photographs_are_not(tmp_path):
    save(tmp_path, blobs(0, 255, np.uint8, 3, size=96))
    assert not check_contrast(traces(tmp_path), IMAGENET, [dict(type='NormPix')], 'x')
