import io
import threading
import time

import numpy as np
import pytest
from PIL import Image

from simmim_mm.datasets import image_headers
from simmim_mm.datasets.image_headers import Header, read_header, read_headers


def content(kind, orientation=None, size=(24, 40)):
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP'])
def test_the_stored_size_and_whether_it_is_turned(tmp_path, kind):
    path = tmp_path / 'a'
    for orientation, turned in ((None, False), (3, False), (6, True), (8, True)):
        path.write_bytes(content(kind, orientation))
        assert read_header(str(path)) == Header(40, 24, turned)


def test_files_that_pillow_does_not_know_are_decoded(tmp_path):
    np.save(tmp_path / 'a.npy', np.zeros((5, 6, 7), np.uint8))
    assert read_header(str(tmp_path / 'a.npy')) == Header(7, 6)  # the shorter axis is the channels


@pytest.mark.parametrize('kind', ['JPEG', 'PNG'])
def test_what_cannot_be_read_has_a_reason(tmp_path, kind):
    whole = content(kind)
    contents = [whole, whole + b'\0' * 99, whole[: len(whole) // 2], b'', b'no image']
    paths = [tmp_path / str(i) for i in range(6)]
    for path, data in zip(paths, contents):
        path.write_bytes(data)
    found = read_headers([str(path) for path in paths])
    assert found[:2] == [Header(40, 24)] * 2  # bytes after the end do no harm
    assert all(header.fault and not header.width for header in found[2:])
    assert 'No such file' in found[-1].fault


def test_where_files_are_waited_for_threads_take_over(monkeypatch, tmp_path):
    Image.new('RGB', (30, 20)).save(tmp_path / 'a.png')
    threads, parse = set(), image_headers._parse

    def watched(file):
        threads.add(threading.get_ident())
        time.sleep(0.001)
        return parse(file)

    monkeypatch.setattr(image_headers, '_parse', watched)
    paths = [str(tmp_path / 'a.png'), str(tmp_path / 'none.png')] * 600
    headers = image_headers.read_headers(paths)
    assert [header.width for header in headers] == [30, 0] * 600
    assert len(threads) > 1
