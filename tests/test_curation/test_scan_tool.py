"""Planted faults and duplicates are found, and nothing else; the tools never lose a file."""

import os

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage import data

from simmim_mm.cli import parse_args
from simmim_mm.curation import inspect_file, read_report, scan_folder, write_html
from simmim_mm.datasets import DataError, ImageDataset


def run(name, *args):
    verb, arguments = parse_args([name, *map(str, args)])
    verb.run(arguments)


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    """Windows of photographs, all different, as PNG."""
    folder = tmp_path_factory.mktemp('photos')
    for name in ('astronaut', 'chelsea', 'coffee', 'rocket'):
        photo = getattr(data, name)()
        for i, (y, x) in enumerate(np.ndindex(2, 2)):
            h, w = photo.shape[0] // 2, photo.shape[1] // 2
            window = photo[y * h : (y + 1) * h, x * w : (x + 1) * w]
            Image.fromarray(window).save(folder / f'{name}{i}.png')
    return folder


@pytest.fixture
def dirty(photos, tmp_path):
    """A copy of the folder with one of each fault; returns what the status of each should be."""
    folder = tmp_path / 'dirty'
    folder.mkdir()
    for path in photos.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    photo = Image.open(photos / 'chelsea0.png')
    planted = {}

    def plant(name, status, content=None, image=None, **options):
        planted[name] = status
        if image is None:
            (folder / name).write_bytes(content)
        else:
            image.save(folder / name, **options)

    png = (photos / 'coffee0.png').read_bytes()
    plant('zz_empty.jpg', 'unreadable', b'')
    plant('zz_text.png', 'unreadable', b'this is no image')
    plant('zz_cut.png', 'truncated', png[: len(png) // 2])
    plant('zz_black.png', 'constant', image=Image.new('RGB', (64, 64)))
    plant('zz_small.png', 'too_small', image=photo.resize((40, 20)))
    plant('zz_gray.png', 'wrong_mode', image=photo.convert('L'))
    np.save(folder / 'zz_none.npy', np.zeros((0, 5, 3), np.uint8))
    planted['zz_none.npy'] = 'zero_area'
    os.symlink(folder / 'gone.png', folder / 'zz_link.png')
    planted['zz_link.png'] = 'unreadable'
    plant('zz_copy.png', 'duplicate', png)
    plant('zz_packed.png', 'duplicate', image=photo, compress_level=1)
    plant('zz_jpeg.jpg', 'near_duplicate', image=photo, quality=60)
    half = Image.open(photos / 'rocket1.png')
    plant('zz_half.png', 'near_duplicate', image=half.resize((half.width // 2, half.height // 2)))
    mirror = Image.open(photos / 'astronaut2.png').transpose(Image.FLIP_LEFT_RIGHT)
    plant('zz_mirror.jpg', 'mirrored', image=mirror, quality=80)
    return folder, planted


@pytest.mark.parametrize('mirrored', [False, True])
def test_planted_faults_are_found_and_nothing_else(dirty, mirrored):
    folder, planted = dirty
    scan = scan_folder(str(folder), min_size=32, channels=[3], mirrored=mirrored)
    found = {path: scan.status(i) for i, path in enumerate(scan.paths)}
    for path, status in found.items():
        expected = planted.get(path, 'kept')
        if expected == 'mirrored':
            expected = 'near_duplicate' if mirrored else 'kept'
        if path in ('coffee0.png', 'zz_copy.png', 'chelsea0.png', 'zz_packed.png'):
            continue  # of equal images either may be kept
        assert status == expected, path
    for pair in (('coffee0.png', 'zz_copy.png'), ('chelsea0.png', 'zz_packed.png')):
        assert sorted(found[path] for path in pair) == ['duplicate', 'kept']


def test_of_duplicates_the_largest_then_the_colored_one_is_kept(photos, tmp_path):
    photo = Image.open(photos / 'astronaut1.png')
    photo.convert('L').save(tmp_path / 'gray.png')  # more bytes than the JPEG
    photo.save(tmp_path / 'color.jpg', quality=70)
    photo.resize((photo.width // 2, photo.height // 2)).save(tmp_path / 'half.png')
    assert os.path.getsize(tmp_path / 'gray.png') > os.path.getsize(tmp_path / 'color.jpg')
    scan = scan_folder(str(tmp_path))
    statuses = {path: scan.status(i) for i, path in enumerate(scan.paths)}
    expected = {'color.jpg': 'kept', 'gray.png': 'near_duplicate', 'half.png': 'near_duplicate'}
    assert statuses == expected


def test_workers_change_nothing(dirty):
    folder, _ = dirty
    one, two = (scan_folder(str(folder), workers=n) for n in (0, 2))
    np.testing.assert_array_equal(one.groups, two.groups)
    np.testing.assert_array_equal(one.kept, two.kept)
    assert one.faults == two.faults


def names(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob('*') if not p.is_dir())


def test_a_scan_that_was_ended_goes_on_and_finds_the_same(dirty, tmp_path, monkeypatch):
    folder, _ = dirty
    whole = scan_folder(str(folder), min_size=32)
    journal, count = tmp_path / 'scan.journal', len(whole.paths)
    inspected = []

    def ended(total):
        if len(inspected) == 5:
            raise KeyboardInterrupt

    def inspect(path, **settings):
        inspected.append(path)
        return inspect_file(path, **settings)

    monkeypatch.setattr('simmim_mm.curation.scan.inspect_file', inspect)
    with pytest.raises(KeyboardInterrupt):
        scan_folder(str(folder), min_size=32, journal=journal, tick=ended)
    journal.write_bytes(journal.read_bytes()[:-9])  # half a line: that file is inspected again
    os.utime(folder / whole.paths[0], (1, 1))  # and so is one that has changed
    inspected.clear()
    again = scan_folder(str(folder), min_size=32, journal=journal)
    assert len(inspected) == count - 2
    assert str(folder / whole.paths[0]) in inspected
    assert [again.status(i) for i in range(count)] == [whole.status(i) for i in range(count)]
    assert (again.groups == whole.groups).all() and (again.shapes == whole.shapes).all()
    inspected.clear()
    scan_folder(str(folder), min_size=8, journal=journal)  # other settings
    assert len(inspected) == count


def test_scan_reports_and_moves_only_when_told(dirty, tmp_path, monkeypatch, capsys):
    folder, planted = dirty
    before = names(folder)
    options = (folder, '--out', tmp_path / 'out', '--channels', 3, '--workers', 0)
    run('scan', *options, '--move', tmp_path / 'bad')
    assert names(folder) == before and not (tmp_path / 'bad').exists()
    rows = read_report(tmp_path / 'out/report.csv')
    moved = sorted(row['path'] for row in rows if row['status'] != 'kept')
    assert f'would move {len(moved)} files' in capsys.readouterr().out
    page = (tmp_path / 'out/report.html').read_text()
    assert all(name in page for name in planted if planted[name] != 'mirrored')
    assert page.count('<img src="data:image/jpeg') >= 8
    kept = ImageDataset(str(folder), ann_file=str(tmp_path / 'out/kept.txt'))
    assert len(kept) == len(before) - len(moved)

    run('scan', *options, '--move', tmp_path / 'bad', '--apply')
    assert names(tmp_path / 'bad') == moved
    assert names(folder) == sorted(set(before) - set(moved))


def test_reports_of_version_0_1_are_read(tmp_path):
    report = tmp_path / 'report.csv'
    report.write_text('path,status,group,height,width,bands,detail\na.png,kept,a.png,4,5,3,\n')
    (row,) = read_report(report)
    assert (row['path'], row['channels'], row['detail']) == ('a.png', '3', '')
    for text, message in (('', "no column 'path'"), ('path,status\n', "no column 'group'")):
        report.write_text(text)
        with pytest.raises(DataError, match=message):
            read_report(report)


def test_links_lead_to_the_files_and_nothing_is_overwritten(dirty, tmp_path, monkeypatch):
    folder, _ = dirty
    options = (folder, '--out', tmp_path / 'out', '--workers', 0, '--link', tmp_path / 'good')
    run('scan', *options, '--apply')
    kept = (tmp_path / 'out/kept.txt').read_text().split()
    assert names(tmp_path / 'good') == sorted(kept)
    assert all((tmp_path / 'good' / name).resolve() == folder / name for name in kept)
    with pytest.raises(ValueError, match='is there already'):
        run('scan', *options, '--apply')


def test_split_by_class_with_duplicates_on_one_side(photos, tmp_path, monkeypatch):
    folder = tmp_path / 'classes'
    rng = np.random.default_rng(0)
    for name, count in (('a', 20), ('b', 10)):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            noise = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            noise = noise.resize((64, 64), Image.BICUBIC)
            noise.save(folder / name / f'{i:02}.png')
            if i < 3:
                noise.save(folder / name / f'{i:02}_copy.jpg', quality=95)
    lists = []
    for out, seed in (('one', 0), ('two', 0), ('three', 1)):
        options = ('--out', tmp_path / out, '--ratios', 0.5, 0.5, '--seed', seed, '--workers', 0)
        run('split', folder, *options, '--link', tmp_path / f'{out}-images')
        lists.append([(tmp_path / out / f'{p}.txt').read_text().split() for p in ('train', 'val')])
        assert not (tmp_path / f'{out}-images').exists()
    assert lists[0] == lists[1] != lists[2]
    train, val = lists[0]
    assert sorted(train + val) == names(folder)
    for name, count in (('a', 23), ('b', 13)):
        assert abs(sum(path.startswith(name) for path in train) - count / 2) <= 1
    for path in names(folder):
        if path.endswith('.jpg'):
            assert (path in train) == (path.replace('_copy.jpg', '.png') in train)
    line = (tmp_path / 'one/train_labels.txt').read_text().splitlines()[0].split()
    assert line == [train[0], str(['a', 'b'].index(train[0][0]))]


def smooth(seed, channels=4):
    """A random image without edges, so that its hash means something."""
    values = np.random.default_rng(seed).random((8, 8, channels))
    return np.kron(values, np.ones((16, 16, 1))).astype(np.float32)


@pytest.mark.parametrize('value', [-9999, -3.4e38, 0, np.nan])
def test_tiles_with_no_data_are_no_duplicates(tmp_path, value):
    for i in range(6):
        image = smooth(i)
        image[:50, :50] = value
        np.save(tmp_path / f'{i}.npy', image)
    nodata = value if value == 0 or np.isnan(value) else None  # a far value shows by itself
    scan = scan_folder(str(tmp_path), nodata=nodata)
    assert scan.counts() == {'kept': 6}


def test_what_training_refuses_is_not_kept(tmp_path):
    image = smooth(0)
    np.save(tmp_path / 'sound.npy', image)
    image[0, 0] = np.nan
    np.save(tmp_path / 'nan.npy', image)
    np.save(tmp_path / 'complex.npy', image.astype(complex))
    tifffile.imwrite(
        tmp_path / 'stack.tif',
        np.zeros((5, 40, 60), np.uint8),
        imagej=True,
        metadata={'axes': 'ZYX'},
    )
    tifffile.imwrite(
        tmp_path / '4d.tif', np.zeros((2, 5, 40, 60), np.uint8), photometric='minisblack'
    )
    scan = scan_folder(str(tmp_path))
    found = {path: scan.faults[i] for i, path in enumerate(scan.paths) if i in scan.faults}
    assert {path: fault for path, (fault, _) in found.items()} == {
        'nan.npy': 'not_finite',
        'complex.npy': 'unsupported',
        'stack.tif': 'unsupported',
        '4d.tif': 'unsupported',
    }
    assert '5 pages (its axes are ZYX)' in found['stack.tif'][1]
    write_html(scan, tmp_path / 'report.html')  # warnings are errors here


def test_the_limit_of_pixels_is_that_of_training(tmp_path, monkeypatch):
    Image.new('L', (100, 100)).save(tmp_path / 'a.png')
    monkeypatch.setattr('simmim_mm.curation.inspection.MAX_PIXELS', 9999)
    assert 'max_pixels' in scan_folder(str(tmp_path)).faults[0][1]


def test_a_name_that_is_no_utf_8_goes_through(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir('images')
    Image.fromarray(data.coffee()[:80, :80]).save(os.fsdecode(b'images/\xfcber.png'))
    run('scan', 'images', '--workers', '0')
    assert (tmp_path / 'scan/kept.txt').read_bytes() == b'\xfcber.png\n'
    (row,) = read_report('scan/report.csv')
    assert row['path'] == os.fsdecode(b'\xfcber.png') and row['status'] == 'kept'
