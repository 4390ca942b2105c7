"""Reading shards: every image once, resuming with other ranks, damage, remote storage."""

import http.server
import io
import os
import tarfile
import threading
from itertools import product

import numpy as np
import pytest
from mmengine import fileio
from PIL import Image
from torch.utils.data import DataLoader

from simmim_mm.curation import shard_folder, write_lines
from simmim_mm.datasets import ImageDataset, ReproducibleSampler, shards
from simmim_mm.datasets.errors import DataError
from simmim_mm.datasets.image_dataset import images_by_shard
from simmim_mm.datasets.image_folder import list_images
from simmim_mm.datasets.transforms.loading import LoadImage

NUMBER = 23


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    """23 images, each of one color, of which the red value is its number."""
    folder = tmp_path_factory.mktemp('photos')
    for i in range(NUMBER):
        Image.new('RGB', (8, 8), (i, 0, 0)).save(folder / f'{i}.png')
    return folder


@pytest.fixture(scope='module')
def sharded(photos, tmp_path_factory):
    """The same in five shards, uneven: 5, 5, 5, 4 and 4 images."""
    out = tmp_path_factory.mktemp('shards')
    shard_folder(str(photos), str(out), images=5)
    return out


def red(data):
    return [int(sample['img'][0, 0, 0]) for sample in data]


def dataset(root, **kwargs):
    root = root if isinstance(root, list) else str(root)
    return ImageDataset(root, pipeline=[LoadImage()], **kwargs)


def sampler(monkeypatch, data, rank=0, ranks=1, **kwargs):
    monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda: (rank, ranks))
    return ReproducibleSampler(data, seed=3, shuffle_shards=2, **kwargs)


@pytest.mark.parametrize(('ranks', 'workers'), product([1, 2, 3], [0, 1, 3]))
def test_every_image_once_an_epoch(sharded, monkeypatch, ranks, workers):
    data = dataset(sharded)
    alone = [int(i) for i in sampler(monkeypatch, data)]
    order = [data.get_data_info(i)['img_path'] for i in alone]
    seen = []
    for rank in range(ranks):
        one = sampler(monkeypatch, data, rank, ranks, round_up=False)
        loader = DataLoader(data, 4, sampler=one, num_workers=workers, collate_fn=list)
        seen.append([sample for batch in loader for sample in batch])
    assert sorted(red(sample for rank in seen for sample in rank)) == list(range(NUMBER))
    # and in the same order, if the ranks are laid side by side again
    for rank in range(ranks):
        assert [sample['img_path'] for sample in seen[rank]] == order[rank::ranks]


def test_rounding_up_repeats_fewer_images_than_there_are_ranks(sharded, monkeypatch):
    data = dataset(sharded)
    alone = [int(i) for i in sampler(monkeypatch, data)]
    parts = [[int(i) for i in sampler(monkeypatch, data, rank, 3)] for rank in range(3)]
    assert [len(part) for part in parts] == [8, 8, 8]
    together = [i for step in zip(*parts) for i in step]
    assert together == alone + alone[:1]


@pytest.mark.parametrize('round_up', [True, False])
def test_an_epoch_goes_on_with_other_ranks_after_any_sample(sharded, monkeypatch, round_up):
    data = dataset(sharded)
    order = [int(i) for i in sampler(monkeypatch, data)]
    for seen, ranks in product(range(NUMBER + 1), [1, 2, 3]):
        parts = []
        for rank in range(ranks):
            one = sampler(monkeypatch, data, rank, ranks, round_up=round_up)
            one.skip_total(seen)
            parts.append([int(i) for i in one])
            assert len(parts[-1]) == one.left_after(seen)
            assert len(list(one)) == len(one)  # the next epoch is whole
        together = [i for step in zip(*parts) for i in step]
        if not round_up:
            together += [part[-1] for part in parts if len(part) > len(parts[-1])]
        assert together[: NUMBER - seen] == order[seen:]
        assert len(together) - (NUMBER - seen) < ranks


def test_order_is_by_shards_and_differs_between_epochs(sharded, monkeypatch):
    data = dataset(sharded)
    groups = images_by_shard(data)
    assert [len(group) for group in groups] == [5, 5, 5, 4, 4]
    one, orders = sampler(monkeypatch, data), set()
    for epoch in range(3):
        one.set_epoch(epoch)
        order = [int(i) for i in one]
        orders.add(tuple(order))
        shard = np.array([next(k for k, g in enumerate(groups) if i in g) for i in order])
        # two shards at a time, mixed, and never again
        first = [sorted(np.flatnonzero(shard == k)[[0, -1]]) for k in range(5)]
        assert sum(low < 10 for low, _ in first) in (2, 3)
        open_at_once = [sum(low <= t <= high for low, high in first) for t in range(NUMBER)]
        assert max(open_at_once) == 2
    assert len(orders) == 3


def test_in_wrappers_and_beside_files_and_a_subset(sharded, photos):
    from mmengine.dataset import ConcatDataset

    both = ConcatDataset([dataset(photos), dataset(sharded)])
    assert [len(group) for group in images_by_shard(both)] == [NUMBER, 5, 5, 5, 4, 4]
    assert [len(group) for group in images_by_shard(dataset(sharded, indices=7))] == [5, 2]
    assert images_by_shard(dataset(photos)) is None
    assert sorted(red(dataset([str(photos), str(sharded)]))) == sorted([*range(NUMBER)] * 2)


def test_a_list_names_images_in_shards(sharded, tmp_path):
    names = [shards.relative_to(path, str(sharded)) for path in list_images(str(sharded))]
    write_lines(names[3:9], tmp_path / 'kept.txt')
    kept = dataset(sharded, ann_file=str(tmp_path / 'kept.txt'))
    assert red(kept) == red(dataset(sharded))[3:9]
    assert dataset(sharded, exclude=['1*.png']).full_init() is None
    assert set(red(dataset(sharded, exclude=['1*.png']))) == {0, *range(2, 10), *range(20, 23)}


def test_a_list_of_other_files_is_none_of_shards(sharded, photos, tmp_path):
    write_lines([photos / '1.png', photos / '2.png'], tmp_path / 'list.txt')
    data = dataset(sharded, ann_file=str(tmp_path / 'list.txt'), trust_annotations=True)
    assert red(data) == [1, 2]
    assert images_by_shard(data) is None


def test_an_address_without_numbers_is_looked_up(sharded):
    path = list_images(str(sharded))[7]
    assert '#' not in shards.shown(path)
    assert fileio.get(shards.shown(path)) == fileio.get(path)
    with pytest.raises(FileNotFoundError):
        fileio.get(shards.shown(path) + 'x')


def copy(folder, to):
    to.mkdir()
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def test_a_damaged_image_is_skipped_named_and_counted(sharded, tmp_path):
    root = copy(sharded, tmp_path / 'shards')
    path = list_images(str(root))[6]
    tar, record = shards.parse_address(path)
    with open(tar, 'r+b') as file:
        file.seek(record.start + record.size - 20)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 255]))
    data = dataset(root)
    data.full_init()
    assert len(red(data)) == NUMBER
    assert data.bad_files() == [f'shards://{tar}/{record.name}']
    with pytest.raises(ValueError, match='CRC-32'):
        fileio.get(path)


@pytest.mark.parametrize(
    ('harm', 'message'),
    [
        (lambda root: (root / 'shard-000002.tar').unlink(), '1 of 5 shards are missing.*000002'),
        (lambda root: os.truncate(root / 'shard-000002.tar', 1024), '000002.tar has 1024 bytes'),
        (lambda root: (root / 'shard-000002.tsv').write_text('x'), 'not the index that'),
        (lambda root: (root / 'shard-000002.tsv').unlink(), 'no .*000002.tsv, the index'),
        (lambda root: (root / 'manifest.json').write_text('{}'), 'is no manifest'),
        (lambda root: (root / 'manifest.json').write_text('[' * 10**5), 'is no manifest'),
    ],
)
def test_what_is_wrong_with_shards_is_said_before_training(sharded, tmp_path, harm, message):
    root = copy(sharded, tmp_path / 'shards')
    harm(root)
    with pytest.raises(DataError, match=message):
        dataset(root).full_init()


@pytest.mark.parametrize(
    'line',
    ['x', 'a\t1\t\ta.png', '0\t-1\t\ta.png', '0\t9\tzz\ta.png', '0\t1' + '0' * 40 + '\t\ta.png'],
)
def test_a_damaged_index_is_told_with_its_line(sharded, tmp_path, line):
    root = copy(sharded, tmp_path / 'shards')
    for name in ('manifest.json', 'settings.json'):
        (root / name).unlink()
    with (root / 'shard-000002.tsv').open('a') as file:
        file.write(line)
    with pytest.raises(DataError, match=r'shard-000002\.tsv is no index, in line 7: '):
        dataset(root).full_init()


def test_a_size_that_an_index_claims_takes_no_memory(sharded):
    tar = next(sharded.glob('*.tar'))
    with pytest.raises(ValueError, match=r'ends .* too early'):
        fileio.get(f'shards://{tar}#0+{1 << 50}/a.png')


def foreign(path, numbers):
    """As others write them, without index and manifest."""
    with tarfile.open(path, 'w') as tar:
        for i in numbers:
            buffer = io.BytesIO()
            Image.new('RGB', (8, 8), (i, 0, 0)).save(buffer, 'PNG')
            for name, content in ((f'{i:03d}.png', buffer.getvalue()), (f'{i:03d}.cls', b'1')):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def test_tars_of_others_are_read(tmp_path):
    for i in range(3):
        foreign(tmp_path / f'train-{i:03d}.tar', range(4 * i, 4 * i + 4))
    assert red(dataset(tmp_path)) == list(range(12))
    assert red(dataset(f'{tmp_path}/train-{{001..002}}.tar')) == list(range(4, 12))
    assert red(dataset(f'file://{tmp_path}/train-000.tar')) == [0, 1, 2, 3]
    assert len(images_by_shard(dataset(tmp_path))) == 3
    with pytest.raises(DataError, match=r'no shard .*train-003\.tar'):
        dataset(f'{tmp_path}/train-{{002..003}}.tar').full_init()


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path):
    path = tmp_path / 'a.tar'
    foreign(path, range(4))
    assert len(list(shards.scan_tar(str(path)))) == 8
    content = bytearray(path.read_bytes())
    content[2 * 1024] ^= 1  # in the header of the third file
    path.write_bytes(content)
    with pytest.raises(DataError, match='damaged or cut short at byte'):
        list(shards.scan_tar(str(path)))
    path.write_bytes(bytes(content[: 512 + 20]))
    with pytest.raises(DataError, match='cannot be read as a tar: unexpected end of data'):
        list(shards.scan_tar(str(path)))


class Server(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, by ranges, and drops connections as often as it is told."""

    folder, drop = '.', 0

    def do_GET(self):
        path = os.path.join(Server.folder, self.path.lstrip('/'))
        if not os.path.isfile(path):
            return self.send_error(404)
        with open(path, 'rb') as file:
            content = file.read()
        if wanted := self.headers.get('Range'):
            first, last = wanted.removeprefix('bytes=').split('-')
            content = content[int(first) : int(last) + 1]
        self.send_response(206 if wanted else 200)
        self.send_header('Content-Length', str(len(content)))
        self.send_header('Accept-Ranges', 'bytes')
        self.end_headers()
        if Server.drop and wanted:
            Server.drop -= 1
            content = content[: len(content) // 2]
            self.close_connection = True
        if self.command == 'GET':
            self.wfile.write(content)
        return None

    do_HEAD = do_GET

    def log_message(self, *args):
        pass


@pytest.fixture
def served(sharded):
    pytest.importorskip('aiohttp')
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Server)
    Server.folder, Server.drop = str(sharded), 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    server.server_close()


def test_a_web_server_serves_shards_and_dropped_connections_are_made_again(
    served, sharded, monkeypatch
):
    monkeypatch.setattr(shards, '_DELAYS', (0.01,) * 5)
    data = dataset(served)
    data.full_init()
    Server.drop = 3
    assert red(data) == red(dataset(sharded))
    assert Server.drop == 0 and data.num_bad == 0
    loader = DataLoader(data, 4, num_workers=2, collate_fn=list)  # connections of their own
    assert [i for batch in loader for i in red(batch)] == red(dataset(sharded))


def test_a_missing_remote_shard_is_named(served, sharded, tmp_path):
    root = copy(sharded, tmp_path / 'shards')
    (root / 'shard-000001.tar').unlink()
    Server.folder = str(root)
    with pytest.raises(DataError, match=f'1 of 5 shards are missing: {served}/shard-000001.tar'):
        dataset(served).full_init()


def test_other_storage_of_fsspec(sharded):
    import fsspec

    memory = fsspec.filesystem('memory')
    for path in sharded.iterdir():
        memory.pipe(f'/bucket/{path.name}', path.read_bytes())
    assert red(dataset('memory://bucket')) == red(dataset(sharded))
