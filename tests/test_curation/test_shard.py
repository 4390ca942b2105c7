"""Writing shards: what is in them, that they are the same again, and that a killed run goes on."""

import io
import json
import multiprocessing
import os
import signal
import tarfile
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from simmim_mm.cli import parse_args
from simmim_mm.curation import check_shards, scan_folder, shard_folder
from simmim_mm.datasets.errors import DataError
from simmim_mm.datasets.image_folder import list_images
from simmim_mm.datasets.readers.class_folders import load_class_folders
from simmim_mm.datasets.shards import relative_to


@pytest.fixture
def photos(tmp_path):
    """Ten images in two class folders, JPEG and PNG, with awkward names."""
    rng = np.random.default_rng(0)
    names = ['a.jpg', 'a.png', 'b.1.jpg', 'b.2.jpg', 'größe 5%.jpg']
    for folder in ('cats', 'dogs'):
        (tmp_path / 'photos' / folder).mkdir(parents=True)
        for name in names:
            image = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
            image.save(tmp_path / 'photos' / folder / name)
    return tmp_path / 'photos'


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def members(folder):
    """Name to bytes of everything in all tars, by Python's own reader."""
    found = []
    for path in sorted(folder.glob('*.tar')):
        with tarfile.open(path) as tar:
            found += [(m.name, tar.extractfile(m).read()) for m in tar]
    assert max(Counter(name for name, _ in found).values()) == 1
    return dict(found)


def test_every_file_is_there_byte_by_byte_and_the_index_finds_it(photos, tmp_path):
    written = shard_folder(str(photos), str(tmp_path / 'out'), images=4)
    assert [shard.images for shard in written.shards] == [4, 3, 3]  # uneven, and no crumb
    originals = Counter(path.read_bytes() for path in photos.rglob('*.*'))
    assert Counter(members(tmp_path / 'out').values()) == originals
    from mmengine import fileio

    found = list_images(str(tmp_path / 'out'))
    assert Counter(fileio.get(path) for path in found) == originals
    assert {path.partition('.tar')[2].rpartition('/')[0].split('/')[1] for path in found} == {
        'cats',
        'dogs',
    }


def test_names_are_one_sample_of_webdataset_each(photos, tmp_path):
    shard_folder(str(photos), str(tmp_path / 'out'), images=100)
    # WebDataset: "the part before the first dot of the base name"
    keys = [name.rpartition('/')[0] + name.rpartition('/')[2].partition('.')[0] for name in
            members(tmp_path / 'out')]  # fmt: skip
    assert len(set(keys)) == 10
    assert 'cats/größe 5%25.jpg' in members(tmp_path / 'out')


@pytest.mark.parametrize('short_side', [None, 16])
def test_the_bytes_are_the_same_with_any_number_of_processes(photos, tmp_path, short_side):
    for name, workers in (('a', 0), ('b', 2)):
        shard_folder(str(photos), str(tmp_path / name), 3, short_side, workers=workers)
    assert content(tmp_path / 'a') == content(tmp_path / 'b')
    sizes = {Image.open(io.BytesIO(data)).size for data in members(tmp_path / 'a').values()}
    assert sizes == ({(21, 16)} if short_side else {(32, 24)})


def killed_after(shards, root, out):
    done = 0

    def tick(total):
        nonlocal done
        done += 1
        if done == shards:
            os.kill(os.getpid(), signal.SIGKILL)

    shard_folder(str(root), str(out), 3, tick=tick)


def test_a_killed_run_goes_on_where_it_was(photos, tmp_path):
    shard_folder(str(photos), str(tmp_path / 'whole'), 3)
    out = tmp_path / 'out'
    process = multiprocessing.get_context('fork').Process(
        target=killed_after, args=(2, photos, out)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (out / 'manifest.json').exists()
    # what a kill leaves between a tar and its index, and in the middle of a tar
    (out / 'shard-000000.tsv').unlink()
    (out / 'shard-000001.tar').write_bytes(b'half')
    (out / f'.shard-000002.tar.{process.pid}.simmim-tmp').write_bytes(b'half')
    shard_folder(str(photos), str(out), 3)
    assert content(out) == content(tmp_path / 'whole')
    assert shard_folder(str(photos), str(out), 3).done_before == 4


def test_other_settings_or_images_are_refused(photos, tmp_path):
    shard_folder(str(photos), str(tmp_path / 'out'), 3)
    with pytest.raises(DataError, match='images 3 instead of 4'):
        shard_folder(str(photos), str(tmp_path / 'out'), 4)
    (photos / 'cats' / 'new.png').write_bytes((photos / 'cats' / 'a.png').read_bytes())
    with pytest.raises(DataError, match='number 10 instead of 11'):
        shard_folder(str(photos), str(tmp_path / 'out'), 3)
    with pytest.raises(DataError, match='lies in'):
        shard_folder(str(photos), str(photos / 'out'))


def test_labels_and_classes(photos, tmp_path):
    shard_folder(str(photos), str(tmp_path / 'out'), 3, labels=True)
    found = members(tmp_path / 'out')
    classes = json.loads((tmp_path / 'out' / 'manifest.json').read_text())['classes']
    assert classes == ['cats', 'dogs']
    for name, label in found.items():
        if name.endswith('.cls'):
            assert classes[int(label)] == name.partition('/')[0]
    assert sum(name.endswith('.cls') for name in found) == 10
    labeled = load_class_folders(str(tmp_path / 'out'))
    assert labeled.classes == ('cats', 'dogs')
    for path, label in zip(labeled.paths, labeled.labels):
        assert relative_to(path, str(tmp_path)).split('/')[1] == labeled.classes[label]


def test_unreadable_files_are_left_out_and_named(photos, tmp_path):
    (photos / 'cats' / 'empty.jpg').touch()
    (photos / 'cats' / 'text.jpg').write_text('no image')
    written = shard_folder(str(photos), str(tmp_path / 'a'), 3)
    assert written.left_out == [('cats/empty.jpg', 'empty file (0 bytes)')]
    written = shard_folder(str(photos), str(tmp_path / 'b'), 3, short_side=16)
    assert sorted(name for name, _ in written.left_out) == ['cats/empty.jpg', 'cats/text.jpg']
    assert sum(shard.images for shard in written.shards) == 10


def test_check_names_what_has_changed(photos, tmp_path):
    out = tmp_path / 'out'
    shard_folder(str(photos), str(out), 3)
    assert check_shards(str(out)) == {}
    damaged = bytearray((out / 'shard-000001.tar').read_bytes())
    damaged[600] ^= 1
    (out / 'shard-000001.tar').write_bytes(damaged)
    (out / 'shard-000002.tar').write_bytes(b'short')
    (out / 'shard-000003.tar').unlink()
    wrong = check_shards(str(out))
    first = (out / 'shard-000001.tsv').read_text().splitlines()[1].split('\t')[3]
    assert wrong == {
        'shard-000001.tar': f'has changed: {first}',
        'shard-000002.tar': 'has 5 bytes instead of '
        + str(json.loads((out / 'manifest.json').read_text())['shards'][2]['bytes']),
        'shard-000003.tar': 'is missing',
    }


def test_shards_are_written_anew_from_shards_and_scanned(photos, tmp_path):
    shard_folder(str(photos), str(tmp_path / 'a'), 3)
    shard_folder(str(tmp_path / 'a'), str(tmp_path / 'b'), 7)
    assert members(tmp_path / 'a') == members(tmp_path / 'b')
    scan = scan_folder(str(tmp_path / 'a'))
    assert scan.kept.all()
    assert sorted(p.partition('/')[2] for p in scan.paths) == sorted(members(tmp_path / 'a'))


def test_the_command_writes_and_checks_and_keeps_what_lies_in_shards(photos, tmp_path, capsys):
    def run(*args):
        verb, arguments = parse_args([*map(str, args)])
        verb.run(arguments)

    out = tmp_path / 'out'
    (photos / 'empty.jpg').touch()
    run('shard', photos, out, '--images', 4, '--workers', 0)
    assert '10 images in 3 shards' in capsys.readouterr().out
    assert (out / 'errors.txt').read_text() == 'empty.jpg: empty file (0 bytes)\n'
    run('shard', out, '--check', '--workers', 0)
    os.truncate(out / 'shard-000001.tar', 512)
    with pytest.raises(DataError, match='1 shards'):
        run('shard', out, '--check', '--workers', 0)
    with pytest.raises(ValueError, match='OUT, or --check'):
        run('shard', out)
    with pytest.raises(ValueError, match='are in shards'):
        run('scan', out, '--move', tmp_path / 'bad', '--apply')
    with pytest.raises(DataError, match='simmim shard'):
        run('cache', out, '--out', tmp_path / 'small')
