"""Values of segmentation maps become classes."""

import numpy as np
import pytest
import tifffile
from mmengine.config import Config
from PIL import Image

from simmim_mm.datasets import DataError
from simmim_mm.registry import TRANSFORMS

VALUES = np.random.default_rng(0).integers(0, 5, (4, 6), dtype=np.uint8)


def load(path, results=(), **settings):
    step = TRANSFORMS.build(dict(type='LoadSegmentationMap', **settings))
    loaded = step(dict(seg_map_path=str(path), seg_fields=[], **dict(results)))
    assert loaded['seg_fields'] == ['gt_seg_map'] and loaded['gt_seg_map'].dtype == np.uint8
    return loaded['gt_seg_map']


def saved(tmp_path, image, name='a.png', **options):
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(tmp_path / name, **options)
    return tmp_path / name


@pytest.mark.parametrize(
    'results', [{}, dict(reduce_zero_label=True), dict(label_map={1: 3, 3: 1})]
)
def test_without_values_it_loads_as_mmseg_does(tmp_path, results):
    pytest.importorskip('mmseg')
    from mmseg.datasets.transforms import LoadAnnotations

    path = saved(tmp_path, np.where(VALUES == 2, 255, VALUES).astype(np.uint8))
    expected = LoadAnnotations()(
        dict(seg_map_path=str(path), seg_fields=[], reduce_zero_label=False, label_map=None)
        | results
    )
    np.testing.assert_array_equal(load(path, results), expected['gt_seg_map'])


def test_values_that_are_mentioned_change_and_others_stay(tmp_path):
    path = saved(tmp_path, 50 * VALUES)
    new = np.array([1, 2, 100, 150, 255], np.uint8)[VALUES]
    # at once: what 0 becomes is not changed again
    np.testing.assert_array_equal(load(path, values={0: 1, 50: 2, 200: 255, 1: 9}), new)


@pytest.mark.parametrize('dtype', [np.int16, np.int32, np.uint16, np.int64, np.float32])
@pytest.mark.parametrize('ending', ['.tif', '.npy'])
def test_values_beyond_8_bits(tmp_path, dtype, ending):
    there = np.array([0, 1, 300, 1000, 30000 if dtype == np.uint16 else -100])[VALUES].astype(dtype)
    path = tmp_path / f'map{ending}'
    tifffile.imwrite(path, there) if ending == '.tif' else np.save(path, there)
    with pytest.raises(DataError, match=r'map.* has the values .*: map those beyond 0 to 255'):
        load(path)
    found = load(path, values={300: 2, '1000': 3, -100: 255, 30000: 255})
    np.testing.assert_array_equal(found, np.array([0, 1, 2, 3, 255])[VALUES])


def test_colors_and_palettes(tmp_path):
    colors = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]], np.uint8)
    values = {'#000000': 0, '#FF0000': 1, '#00ff00': 2, '#0000ff': 3, '#090909': 255}
    expected = np.array([0, 1, 2, 3, 255])[VALUES]
    path = saved(tmp_path, colors[VALUES])
    np.testing.assert_array_equal(load(path, values=values), expected)
    palette = Image.fromarray(4 - VALUES, 'P')
    palette.putpalette(colors[::-1].tobytes())
    path = saved(tmp_path, palette)
    np.testing.assert_array_equal(load(path), 4 - VALUES)
    np.testing.assert_array_equal(load(path, values=values), expected)
    values.pop('#090909')
    with pytest.raises(DataError, match=r'a\.png has colors that are in no class: #090909'):
        load(path, values=values)


def test_equal_channels_are_one_and_others_are_refused(tmp_path):
    path = saved(tmp_path, np.stack([VALUES] * 3, -1))
    np.testing.assert_array_equal(load(path), VALUES)
    with pytest.raises(
        DataError, match=r"has 3 channels.*LoadSegmentationMap', values={'#000004': 0, '#010103': 1"
    ):
        load(saved(tmp_path, np.stack([VALUES, VALUES, 4 - VALUES], -1)))
    tifffile.imwrite(tmp_path / 'half.tif', VALUES / np.float32(2))
    with pytest.raises(DataError, match='no whole numbers'):
        load(tmp_path / 'half.tif')


def test_the_orientation_of_exif_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, np.rot90(VALUES), exif=exif)
    np.testing.assert_array_equal(load(path), VALUES)


def test_settings_survive_a_config_and_are_checked(tmp_path):
    Config(dict(step=dict(type='LoadSegmentationMap', values={255: 1, -1: 255}))).dump(
        tmp_path / 'config.py'
    )
    step = TRANSFORMS.build(Config.fromfile(tmp_path / 'config.py').step)
    assert step.values == {255: 1, -1: 255} and '255: 1' in repr(step)
    assert step(dict(img=0)) == dict(img=0)  # in prediction there is no map
    for values in ({'red': 1}, {'#ff': 1}, {1: 'ignore'}):
        with pytest.raises(ValueError, match='map a number, or a color'):
            TRANSFORMS.build(dict(type='LoadSegmentationMap', values=values))
