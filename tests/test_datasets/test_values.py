import numpy as np
import pytest

from simmim_mm.datasets.values import (
    apply_window,
    check_nodata,
    check_window,
    fill_nodata,
    find_nodata,
    suspect_nodata,
)

LOWEST = float(np.finfo(np.float32).min)


def tile(value, dtype=np.float32, channels=4):
    """Random values with a triangle of no-data, and where it is."""
    array = (np.random.default_rng(0).random((64, 64, channels)) * 200).astype(dtype)
    y, x = np.mgrid[:64, :64]
    array[x + y < 40] = value
    return array, x + y < 40


@pytest.mark.parametrize(
    ('value', 'dtype'),
    [(-9999, np.float32), (-9999, np.int16), (0, np.float32), (65535, np.uint16), (255, np.uint8)]
    + [(LOWEST, np.float32), (-3.4e38, np.float32), (1e20, np.float64), (np.nan, np.float32)],
)
def test_nodata_is_found_and_becomes_the_mean_of_the_others(value, dtype):
    array, where = tile(value, dtype)
    found = find_nodata(array, value)
    np.testing.assert_array_equal(found, where)
    filled = fill_nodata(array, found)
    assert filled.dtype == dtype
    np.testing.assert_array_equal(filled[~where], array[~where])
    mean = array[~where].mean(0, dtype=float)
    np.testing.assert_allclose(filled[where], np.broadcast_to(mean, (where.sum(), 4)), atol=0.5)


def test_values_that_pixels_may_have_need_every_channel():
    array = np.ones((2, 2, 3), np.float32)
    array[0, 0] = 0
    array[1, 1, 0] = 0
    assert find_nodata(array, 0).tolist() == [[True, False], [False, False]]
    array[1, 1, 0] = -1
    assert find_nodata(array, -1)[1, 1]
    array[1, 0, 0] = np.nan
    assert find_nodata(array, -1).tolist() == [[False, False], [True, True]]


def test_a_value_out_of_the_range_of_the_file_is_not_there():
    assert not find_nodata(np.zeros((4, 4, 1), np.uint8), -9999).any()
    assert not find_nodata(np.zeros((4, 4, 1), np.uint8), 0.5).any()


def test_an_image_of_nothing_but_nodata_is_refused():
    array = np.full((4, 4, 1), -1, np.float32)
    with pytest.raises(ValueError, match='nothing but no-data'):
        fill_nodata(array, find_nodata(array, -1))


@pytest.mark.parametrize('value', [-9999, -32768, LOWEST, 1e20])
def test_far_values_that_repeat_are_suspected(value):
    assert suspect_nodata(tile(value)[0]) == np.float32(value)


def test_ordinary_images_are_not_suspected():
    rng = np.random.default_rng(0)
    image = (rng.random((64, 64)) * 4095).astype(np.uint16)
    scan = np.full((64, 64), -1000) + rng.normal(0, 20, (64, 64))
    scan[20:40, 20:40] += 1040
    saturated = image.clip(0, 2000)
    for array in (image, scan.astype(np.int16), saturated, np.zeros((8, 8)), tile(0)[0]):
        assert suspect_nodata(array) is None


def test_a_window_clips_and_stretches():
    array = np.array([-1000, -160, 40, 240, 3000], np.int16).reshape(1, 5, 1)
    shown = apply_window(array, (-160, 240), joint=True)
    np.testing.assert_allclose(shown.ravel(), [0, 0, 127.5, 255, 255])


def test_percentiles_are_of_all_channels_or_of_each_and_not_of_nodata():
    array = np.stack([np.arange(101.0), np.arange(101.0) * 10], -1)[:, None]
    array = np.concatenate([array, np.full((1, 1, 2), -9999.0)])
    nodata = find_nodata(array, -9999)
    each = apply_window(array, ('0%', '100%'), joint=False, nodata=nodata)
    np.testing.assert_allclose(each[:101, 0, 0], each[:101, 0, 1], atol=1e-3)
    assert each.max() == 255 and each[0].max() == 0
    joint = apply_window(array, ('0%', '100%'), joint=True, nodata=nodata)
    assert joint[..., 1].max() == 255 and joint[..., 0].max() == pytest.approx(25.5)


def test_a_constant_image_has_a_window():
    assert apply_window(np.ones((4, 4, 1)), ('1%', '99%'), joint=True).max() == 0


@pytest.mark.parametrize('window', [5, (1,), (2, 1), ('1', '9'), ('1%', '101%'), 'auto', ('a', 2)])
def test_other_windows_are_refused(window):
    with pytest.raises(ValueError, match='window must be'):
        check_window(window)


def test_windows_and_nodata_as_they_may_be_written():
    for window in (None, 'file', (0, 1), [0, 4095.5], ('1%', '99.5%'), (0, '99%')):
        check_window(window)
    assert check_nodata('file') == 'file' and check_nodata(None) is None
    assert np.isnan(check_nodata('nan')) and check_nodata('-9999') == check_nodata(-9999) == -9999
    with pytest.raises(ValueError, match="'nan' or 'file', got 'zero'"):
        check_nodata('zero')
