"""A small part of ``make fuzz``, and what it has found."""

import io
import os
import time
import zipfile
from contextlib import suppress
from functools import partial

import numpy as np
import pytest
import torch
from fuzz import Kind, Tally, fuzz
from fuzz_kinds import KINDS, dicom, pillow, saved, tiff
from PIL import Image

from simmim_mm.checkpoint import NotWeights, load_weights
from simmim_mm.checkpoint.stored_config import parse_config
from simmim_mm.datasets import UnreadableImage
from simmim_mm.datasets.decode import decode
from simmim_mm.datasets.errors import DataError, UnsupportedImage
from simmim_mm.datasets.readers.coco import load_coco
from simmim_mm.datasets.readers.segmentation_maps import load_mapped
from simmim_mm.datasets.tiff import check_page_chain
from simmim_mm.datasets.transforms.loading import LoadImage
from simmim_mm.experiments.scalars import checkpoint_files, read_scalars

CASES = dict(images=4, checkpoints=10, annotations=8, configs=10)


def test_no_damaged_file_does_more_than_to_be_refused():
    cases = {kind.name: range(CASES[kind.name.split('/')[0]]) for kind in KINDS}
    cases['annotations/scalars'] = range(2)  # draws
    tally = Tally()
    fuzz(KINDS, cases, tally)
    assert not tally.faults
    read = sum(counts['read'] for counts in tally.outcomes.values())
    assert 50 < read < 0.7 * sum(map(len, cases.values()))  # some changes are let pass


def burn() -> None:
    began = time.process_time()
    while time.process_time() < began + 0.5:
        pass


def two_lines() -> None:
    raise ValueError('two\nlines')


FAULTS = {
    'time': burn,
    'hangs': partial(time.sleep, 60),
    'memory': lambda: np.ones(64 << 20, np.uint8),
    'output': lambda: os.write(2, b'warning'),
    'ended': lambda: os._exit(3),
    'another error': lambda: [][0],
    'not one line with the path': two_lines,
    '': lambda: None,
}


def test_the_harness_sees_what_it_looks_for(monkeypatch):
    monkeypatch.setattr('fuzz.SECONDS', 0.4)
    monkeypatch.setattr('fuzz.HANGS', 2.0)
    kinds = [
        Kind(
            name, '.x', lambda folder: [b'x'], lambda seed, rng: seed,
            lambda path, fault=fault: fault(), (ValueError,),
        )
        for name, fault in FAULTS.items()
    ]  # fmt: skip
    found = {}
    fuzz(kinds, range(1), lambda kind, case, result: found.update({kind.name: result.fault}))
    assert found == {name: name for name in FAULTS}


# ---- what it has found ----
def test_pages_of_a_tiff_that_follow_each_other_in_a_circle_are_refused():
    # With a version that no TIFF has, so that only this check reads it: 8 leads to 14 and back.
    chain = b'II\0\0' + (8).to_bytes(4, 'little')
    chain += b'\0\0' + (14).to_bytes(4, 'little') + b'\0\0' + (8).to_bytes(4, 'little')
    with pytest.raises(ValueError, match='circle'):
        check_page_chain(chain)
    check_page_chain(chain[:-4] + bytes(4))
    check_page_chain(chain[:-4] + (1 << 30).to_bytes(4, 'little'))  # beyond the end
    for sound in (tiff(), tiff(bigtiff=True), tiff(byteorder='>'), tiff(np.zeros((3, 9, 9), 'u1'))):
        check_page_chain(sound)


@pytest.mark.parametrize(
    ('array', 'layout'),
    [
        (np.zeros((16, 16, 3), np.uint8), dict(rowsperstrip=4)),  # Pillow
        (np.zeros((16, 16, 5), np.uint8), dict(planarconfig='contig', rowsperstrip=4)),  # tifffile
        (np.zeros((32, 32, 3), np.uint8), dict(tile=(16, 16))),
        (np.zeros((5, 16, 16), 'u2'), dict(planarconfig='separate', rowsperstrip=16)),
    ],
)
def test_a_tiff_that_does_not_list_all_of_its_strips_is_damaged(array, layout):
    """They were black, and a few kilobytes took seconds to read as fifty megapixels."""
    content = tiff(array, metadata=None, **layout)
    decode(content, channels=(3, 5))
    separate = layout.get('planarconfig') == 'separate'
    changed = {277: 6} if separate else {257: 2 * array.shape[0]}  # samples, height
    with pytest.raises(ValueError, match=r'lists \d of its \d strips or tiles'):
        decode(_with_tags(bytearray(content), changed), channels=(3, 5, 6))


@pytest.mark.parametrize('compression', ['tiff_lzw', 'tiff_adobe_deflate', 'jpeg', 'group4'])
def test_libtiff_writes_nothing(compression, capfd):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8))
    image = image.convert('1') if compression == 'group4' else image
    content = bytearray(pillow('TIFF', image, compression=compression))
    content[len(content) // 2 :: 7] = b'\xa5' * len(content[len(content) // 2 :: 7])
    with suppress(Exception):
        decode(bytes(content))
    assert capfd.readouterr() == ('', '')


def test_values_near_the_largest_of_their_type_are_refused_in_silence(tmp_path):
    huge = np.full((9, 9), 1e300)
    huge[0, 0] = -1e300
    np.save(tmp_path / 'huge.npy', huge)
    with pytest.raises(UnreadableImage, match=r'huge\.npy: .*infinite'):
        LoadImage('unchanged')(dict(img_path=str(tmp_path / 'huge.npy')))
    with pytest.raises(DataError, match=r'huge\.npy has values that are no whole numbers'):
        load_mapped(tmp_path / 'huge.npy')


def test_a_map_without_colors_has_none_to_map(tmp_path):
    np.save(tmp_path / 'map.npy', np.zeros((9, 9), np.uint8))
    with pytest.raises(DataError, match=r'map\.npy has no colors'):
        load_mapped(tmp_path / 'map.npy', {'#000000': 0})


def test_lines_of_a_log_that_are_no_numbers_are_left_out(tmp_path):
    (tmp_path / 'vis_data').mkdir()
    lines = ['3', '[1]', '{"step": 1}', '[' * 100_000, '{"half": ']
    (tmp_path / 'vis_data' / 'scalars.json').write_text('\n'.join(lines))
    assert read_scalars(tmp_path) == [{'step': 1}]
    for name in ('epoch_2.pth', 'epoch_x.pth', 'iter_10.pth', 'epoch_.pth'):
        (tmp_path / name).touch()
    assert [path.name for path in checkpoint_files(tmp_path)] == ['epoch_2.pth', 'iter_10.pth']


# ---- bombs ----
def test_a_tiff_that_declares_more_bytes_than_a_file_of_its_size_may_hold_is_refused():
    content = bytearray(tiff(np.zeros((16, 16, 3), np.uint8), metadata=None))
    with pytest.raises(UnsupportedImage, match='GB from'):
        decode(_with_tags(content, {257: 13_000, 256: 13_000, 277: 60_000}), max_pixels=10**9)


def _with_tags(content: bytearray, values: dict[int, int]) -> bytes:
    """A little-endian TIFF with other values of short or long tags."""
    start = int.from_bytes(content[4:8], 'little')
    for i in range(int.from_bytes(content[start : start + 2], 'little')):
        entry = start + 2 + 12 * i
        tag = int.from_bytes(content[entry : entry + 2], 'little')
        if tag in values:
            content[entry + 2 : entry + 8] = b'\x04\0\x01\0\0\0'
            content[entry + 8 : entry + 12] = values[tag].to_bytes(4, 'little')
    return bytes(content)


def test_a_deflated_dicom_that_unpacks_to_too_much_is_refused():
    pytest.importorskip('pydicom')
    decode(dicom('DeflatedExplicitVRLittleEndian'), max_pixels=10_000)
    padded = dicom('DeflatedExplicitVRLittleEndian', zeros=4 << 20)
    with pytest.raises(UnsupportedImage, match='unpacks to more than'):
        decode(padded, max_pixels=10_000)


def test_a_packed_checkpoint_that_unpacks_to_far_more_is_refused(tmp_path):
    plain = zipfile.ZipFile(io.BytesIO(saved(dict(zeros=torch.zeros(1 << 18)))))
    for packing in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(tmp_path / 'packed.pth', 'w', packing) as file:
            for name in plain.namelist():
                file.writestr(name, plain.read(name))
        if packing == zipfile.ZIP_STORED:
            load_weights(tmp_path / 'packed.pth')
    with pytest.raises(NotWeights, match=r'packed\.pth unpacks to'):
        load_weights(tmp_path / 'packed.pth')


def test_lists_within_lists_without_end_are_refused(tmp_path):
    (tmp_path / 'deep.json').write_text('{"images": ' + '[' * 100_000)
    with pytest.raises(DataError, match=r'deep\.json is not JSON'):
        load_coco(tmp_path / 'deep.json')
    for depth in (50, 500, 3000):  # Python reads it, cannot write it again, cannot read it
        with pytest.raises(ValueError, match=r'Python source|is code, not a setting: a = ---'):
            parse_config('a = ' + '-' * depth + '1')
