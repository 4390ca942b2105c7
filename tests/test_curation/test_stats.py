import numpy as np
import pytest
import tifffile
from mmengine.config import Config
from PIL import Image

from simmim_mm.catalog import load_config
from simmim_mm.cli import main
from simmim_mm.curation import config_lines, folder_stats
from simmim_mm.datasets import DataError

RECIPE = 'simmim_swin-micro-w6_1xb64-coslr-100e_folder-96px'


def write_bands(folder, count=6, nodata=None, dtype=np.uint16):
    """TIFFs of seven channels; their pixels, without those of a corner of no-data."""
    pixels = []
    for i in range(count):
        image = np.random.default_rng(i).normal(2000, 300, (40 + i, 50, 7)).astype(dtype)
        keep = np.ones(image.shape[:2], bool)
        if nodata is not None:
            keep[:20, :20] = False
            image[:20, :20] = nodata
        pixels.append(image[keep].astype(float))
        kwargs = dict(photometric='minisblack', planarconfig='contig')
        tifffile.imwrite(folder / f'{i}.tif', image, **kwargs)
    return pixels


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('nodata', [None, 0, -9999, np.nan])
def test_mean_and_deviation_of_all_pixels_but_no_data(tmp_path, nodata, workers):
    dtype = np.uint16 if nodata in (None, 0) else np.float32
    pixels = write_bands(tmp_path, 6, nodata, dtype)
    stats = folder_stats(tmp_path, nodata=nodata, workers=workers)
    mean = np.mean([p.mean(0) for p in pixels], 0)
    std = np.sqrt(np.mean([(p**2).mean(0) for p in pixels], 0) - mean**2)
    np.testing.assert_allclose(stats.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(stats.std, std, rtol=1e-4)
    assert stats.low == np.concatenate(pixels).min() and stats.high == np.concatenate(pixels).max()
    assert (stats.nodata > 0) == (nodata is not None)


def test_what_seems_to_be_no_data_is_reported(tmp_path):
    write_bands(tmp_path, 3, -9999, np.float32)
    assert folder_stats(tmp_path).suspected == {-9999.0: 3}


def test_channels_follow_the_files(tmp_path):
    rng = np.random.default_rng(0)
    for name, shape in (('gray', (40, 40)), ('color', (40, 40, 3))):
        (tmp_path / name).mkdir()
        image = Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8))
        image.save(tmp_path / name / 'a.png')
    assert folder_stats(tmp_path / 'gray').loader.channels == 'gray'
    assert folder_stats(tmp_path / 'color').loader.channels == 'rgb'
    assert folder_stats(tmp_path).loader.channels == 'rgb'
    np.save(tmp_path / 'gray' / 'b.npy', np.zeros((40, 50, 7), np.uint8))
    with pytest.raises(DataError, match=r'1 in .*a\.png, 7 in .*b\.npy.*--channels'):
        folder_stats(tmp_path / 'gray')
    stats = folder_stats(tmp_path / 'gray', channels=7)
    assert len(stats.bad) == 1 and 'has 1 channel' in stats.bad[0][1]


def test_a_folder_of_damaged_files_is_an_error(tmp_path):
    (tmp_path / 'a.png').write_bytes(b'x')
    with pytest.raises(DataError, match=r'none of 1 images.*a.png'):
        folder_stats(tmp_path)


def test_the_lines_make_a_recipe(tmp_path, capsys):
    write_bands(tmp_path, 3, -9999, np.float32)
    main(['stats', str(tmp_path), '--nodata=-9999', '--workers', '0', '--max-images', '2'])
    shown = capsys.readouterr().out
    assert 'images    2 of 3, 0 unreadable' in shown and 'float32 (2)' in shown
    lines = config_lines(folder_stats(tmp_path, nodata=-9999))
    child = tmp_path / 'child.py'
    base = load_config(RECIPE).filename
    child.write_text('\n'.join([f'_base_ = {base!r}', *lines]))
    cfg = Config.fromfile(child)
    load = cfg.train_dataloader.dataset.pipeline[0]
    assert load == dict(type='LoadImage', channels=7, nodata=-9999.0)
    assert len(cfg.model.data_preprocessor.mean) == len(cfg.model.data_preprocessor.std) == 7
    np.testing.assert_allclose(cfg.model.data_preprocessor.mean, 2000, rtol=0.05)


def test_a_window_and_nan_are_written_as_they_were_given(tmp_path):
    write_bands(tmp_path, 2, np.nan, np.float32)
    stats = folder_stats(tmp_path, window=('1%', '99%'), nodata='nan')
    assert "channels=7, window=('1%', '99%'), nodata='nan')" in config_lines(stats)[0]
    assert stats.mean.min() > 0 and stats.mean.max() < 255


@pytest.mark.parametrize(
    'option', [['--max-images', '0'], ['--nodata', 'none'], ['--channels', 'x']]
)
def test_wrong_options_are_named(tmp_path, option, capsys):
    write_bands(tmp_path, 1)
    with pytest.raises(SystemExit):
        main(['stats', str(tmp_path), '--workers', '0', *option])
    assert 'error: ' in capsys.readouterr().err
