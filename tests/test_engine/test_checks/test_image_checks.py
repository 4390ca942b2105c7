"""Labeled images that cannot be read are named before a training."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmcv.transforms import Compose
from PIL import Image

from simmim_mm.datasets.errors import DataError
from simmim_mm.datasets.image_folder import spread
from simmim_mm.engine.checks.images import image_sizes, read_once


class Images:
    """As a data set of OpenMMLab: knows its images, and the pipeline that loads them."""

    def __init__(self, paths, *steps):
        self.paths = [str(path) for path in paths]
        self.pipeline = Compose(list(steps or [dict(type='LoadImageFromFile')]))

    def __len__(self):
        return len(self.paths)

    def get_data_info(self, index):
        return dict(img_path=self.paths[index])


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / f'{i}.png' for i in range(6)]
    for i, path in enumerate(paths):
        Image.fromarray(rng.integers(0, 255, (20, 30 + i, 3), dtype=np.uint8)).save(path)
    return paths


def damage(path, kind):
    content = path.read_bytes()
    path.write_bytes(dict(half=content[: len(content) // 2], empty=b'', text=b'no image')[kind])


def test_sizes_are_those_of_the_loaded_image(tmp_path, files):
    turned = tmp_path / 'turned.jpg'
    exif = Image.Exif()
    exif[0x0112] = 6  # upright after a quarter turn
    Image.new('RGB', (40, 24)).save(turned, exif=exif)
    sizes = image_sizes(Images([*files, turned]))
    assert sizes[str(files[2])] == (20, 32) and sizes[str(turned)] == (40, 24)
    assert len(image_sizes(Images(files), most=3)) == 3
    assert image_sizes(Images(['s3://bucket/a.png'])) == {}
    assert image_sizes(Images([], *[dict(type='LoadAnnotations')])) == {}


def test_the_loader_of_the_pipeline_reads_the_images(tmp_path):
    tifffile = pytest.importorskip('tifffile')
    path = tmp_path / 'bands.tif'
    tifffile.imwrite(path, np.zeros((8, 9, 7), np.uint16), photometric='minisblack')
    assert image_sizes(Images([path], dict(type='simmim_mm.LoadImage', channels=7))) == {
        str(path): (8, 9)
    }
    with pytest.raises(DataError, match=r'bands.tif \(has 7 channels'):
        image_sizes(Images([path], dict(type='simmim_mm.LoadImage', channels=5)))


@pytest.mark.parametrize('kind', ['half', 'empty', 'text'])
@pytest.mark.parametrize('loader', ['LoadImageFromFile', 'simmim_mm.LoadImage'])
def test_every_damaged_file_is_named_with_a_reason(files, kind, loader):
    damage(files[1], kind)
    files[4].unlink()
    with pytest.raises(DataError) as caught:
        image_sizes(Images(files, dict(type=loader)))
    message = str(caught.value)
    assert message.startswith('2 of 6 images cannot be read: ') and '\n' not in message
    assert f'{files[1]} (' in message and f'{files[4]} (' in message
    assert 'o such file or directory' in message and '()' not in message


def test_workers_find_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: {0, 1, 2})
    paths = [tmp_path / f'{i}.txt' for i in range(200)]
    for i, path in enumerate(paths):
        path.write_text(str(i))

    def read(path):
        return [os.getpid(), int(open(path).read())]

    found = read_once(paths, read, 'numbers', 'file')
    assert [found[str(path)][1] for path in paths] == list(range(200))
    pids = {pid for pid, _ in found.values()}
    assert len(pids) == 3 and os.getpid() not in pids
    paths[150].write_text('x')
    with pytest.raises(DataError, match=r'1 of 200 files cannot be read: .*150.txt \(invalid'):
        read_once(paths, read, 'numbers', 'file')


def test_what_was_sound_is_not_read_again_unless_it_changed(files, monkeypatch):
    calls = []

    def read(path):
        calls.append(path)
        return cv2.imread(path).shape

    first = read_once(files, read, 'shape', 'image')
    assert read_once(files, read, 'shape', 'image') == {p: list(s) for p, s in first.items()}
    assert len(calls) == 6
    damage(files[3], 'text')
    for _ in range(2):  # what is bad is read each time
        with pytest.raises(DataError, match=r'3\.png'):
            read_once(files, read, 'shape', 'image')
    assert len(calls) == 8
    read_once(files[:3], read, 'another loader', 'image')
    assert len(calls) == 11

    for cache in Path(os.environ['XDG_CACHE_HOME']).glob('*/image_*.json'):
        cache.write_text('[')  # damaged
    assert len(read_once(files[:3], read, 'shape', 'image')) == 3
    monkeypatch.setenv('XDG_CACHE_HOME', '/proc/none')  # cannot be written to
    assert len(read_once(files[:3], read, 'shape', 'image')) == 3


def test_indices_are_spread_over_the_whole():
    assert spread(5, None) == [0, 1, 2, 3, 4] and spread(3, 200) == [0, 1, 2]
    assert spread(101, 3) == [0, 50, 100] and spread(0, 200) == []
