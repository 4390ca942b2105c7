import os
import time

import numpy as np
import pytest
import tifffile
from PIL import Image

from simmim_mm.curation import cache_folder
from simmim_mm.datasets import ImageDataset
from simmim_mm.datasets.decode import decode
from simmim_mm.datasets.errors import DataError


def photo(height=240, width=320, channels=3):
    rows, columns = np.mgrid[:height, :width]
    waves = [128 + 100 * np.sin(rows / (19 + c) + columns / 31) for c in range(channels)]
    return np.stack(waves, -1).round().astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    """A file of each kind, with what becomes of it."""
    root = tmp_path / 'in'
    (root / 'sub').mkdir(parents=True)
    Image.fromarray(photo()).save(root / 'large.jpg', quality=95)
    Image.fromarray(photo(50, 70)).save(root / 'small.jpg')
    Image.fromarray(photo()[..., 0]).save(root / 'sub' / 'gray.png')
    Image.fromarray(photo()).save(root / 'sub' / 'large.webp', lossless=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo()).save(root / 'turned.jpg', exif=exif)
    tifffile.imwrite(root / 'bits.tif', photo()[..., 0].astype(np.uint16) * 200)
    (root / 'broken.jpg').write_bytes((root / 'large.jpg').read_bytes()[:900])
    return root


def read(path):
    return decode(path.read_bytes()).array


def test_every_kind_of_file(folder, tmp_path):
    out = tmp_path / 'out'
    files = {f.path: f for f in cache_folder(str(folder), str(out), short_side=60)}
    assert {name: file.status for name, file in files.items()} == {
        'bits.tif': 'copied',
        'broken.jpg': 'unreadable',
        'large.jpg': 'resized',
        'small.jpg': 'copied',
        'sub/gray.png': 'resized',
        'sub/large.webp': 'resized',
        'turned.jpg': 'resized',
    }
    assert 'truncated' in files['broken.jpg'].detail
    for name in ('bits.tif', 'small.jpg'):
        assert (out / name).read_bytes() == (folder / name).read_bytes()
    assert Image.open(out / 'large.jpg').format == 'JPEG'
    assert read(out / 'turned.jpg').shape == (80, 60, 3)
    for name, new in (
        ('large.jpg',) * 2,
        ('sub/gray.png',) * 2,
        ('sub/large.webp', 'sub/large.webp.png'),
    ):
        # Smooth, so that any good way of resizing gives these values.
        expected = Image.fromarray(np.squeeze(read(folder / name))).resize((80, 60), Image.BICUBIC)
        difference = np.squeeze(read(out / new)).astype(float) - np.asarray(expected)
        assert np.abs(difference).mean() < 1.5  # a JPEG halves the resolution of color
    dataset = ImageDataset(str(out), pipeline=[dict(type='simmim_mm.LoadImage')])
    assert len(dataset) == 6
    assert all(dataset[i]['img'].shape[2] == 3 for i in range(6))


def test_a_second_run_does_only_what_is_missing_or_newer(folder, tmp_path):
    out = tmp_path / 'out'
    cache_folder(str(folder), str(out), short_side=60)
    (out / 'small.jpg').unlink()
    (out / '.large.jpg.1.simmim-tmp').write_bytes(b'left by a killed run')
    later = time.time() + 10
    os.utime(folder / 'sub' / 'gray.png', (later, later))
    files = {
        f.path: f.status for f in cache_folder(str(folder), str(out), short_side=60, workers=2)
    }
    assert files == {
        'bits.tif': 'done before',
        'broken.jpg': 'unreadable',
        'large.jpg': 'done before',
        'small.jpg': 'copied',
        'sub/gray.png': 'resized',
        'sub/large.webp': 'done before',
        'turned.jpg': 'done before',
    }
    assert not list(out.rglob('.*simmim-tmp'))


def test_other_settings_and_folders_inside_are_refused(folder, tmp_path):
    out = tmp_path / 'out'
    cache_folder(str(folder), str(out), short_side=60)
    with pytest.raises(DataError, match=r'holds a cache with other settings: .*60'):
        cache_folder(str(folder), str(out), short_side=64)
    with pytest.raises(DataError, match='choose a folder outside'):
        cache_folder(str(folder), str(folder / 'cache'))
    with pytest.raises(ValueError, match='quality 1 to 95'):
        cache_folder(str(folder), str(tmp_path / 'other'), quality=100)
    assert not (tmp_path / 'other').exists()


def test_the_command(folder, tmp_path, capsys):
    from simmim_mm.cli import main

    main(['cache', str(folder), '--out', str(tmp_path / 'out'), '--short-side', '60'])
    printed = capsys.readouterr().out
    assert 'resized         4' in printed
    assert f'--data {tmp_path}/out' in printed
    assert (tmp_path / 'out' / 'errors.txt').read_text().startswith('broken.jpg: ')
