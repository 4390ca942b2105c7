"""Features of a folder in a file: as the backbone gives them, in the order of the paths."""

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from vis_toys import save_checkpoint, tiny_config, write_photos

import simmim_mm
from simmim_mm.checkpoint.disk import DiskFull
from simmim_mm.cli import main
from simmim_mm.datasets.errors import DataError
from simmim_mm.evaluation.embedding import Embedding
from simmim_mm.evaluation.kept_features import KeptFeatures


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Images of several sizes, gray ones and two that cannot be read; and a checkpoint."""
    folder = tmp_path_factory.mktemp('embedding')
    write_photos(folder / 'images')
    Image.new('L', (90, 50), 77).save(folder / 'images' / 'gray, 2.png')
    (folder / 'images' / 'empty.png').touch()
    (folder / 'images' / 'text.jpg').write_text('no image')
    save_checkpoint(folder / 'run.pth', tiny_config())
    return folder


def test_features_are_those_of_the_images_that_can_be_read(folder):
    found = simmim_mm.embed(folder / 'run.pth', folder / 'images', batch_size=2)
    assert sorted(map(str, found.unreadable)) == [
        str(folder / 'images' / name) for name in ('empty.png', 'text.jpg')
    ]
    assert all(found.unreadable.values())
    expected = simmim_mm.extract_features(folder / 'run.pth', found.paths)
    torch.testing.assert_close(found.features, expected)
    assert len(found.paths) == len(found.features) > 3


def test_channels_follow_from_the_mean_as_in_the_training(tmp_path):
    cfg = tiny_config(5)
    save_checkpoint(tmp_path / 'stated.pth', cfg)
    del cfg.model.backbone.in_channels
    save_checkpoint(tmp_path / 'derived.pth', cfg)
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 4000, (40, 50, 5), np.uint16)
        np.save(tmp_path / f'{i}.npy', pixels)
    files = sorted(tmp_path.glob('*.npy'))
    stated, derived = (
        simmim_mm.extract_features(tmp_path / f'{name}.pth', files)
        for name in ('stated', 'derived')
    )
    assert torch.equal(stated, derived)


def test_features_need_no_mask_token(folder, tmp_path):
    save_checkpoint(tmp_path / 'public.pth', tiny_config(), drop='backbone.mask_token')
    assert 'backbone.mask_token' in torch.load(folder / 'run.pth')['state_dict']
    found = [
        simmim_mm.embed(f, folder / 'images') for f in (folder / 'run.pth', tmp_path / 'public.pth')
    ]
    assert torch.equal(found[0].features, found[1].features)


def test_a_run_that_started_from_weights_does_not_need_them_again(folder, tmp_path):
    cfg = tiny_config()
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint='gone.pth', prefix='backbone.')
    run = save_checkpoint(tmp_path / 'continued.pth', cfg)
    images = folder / 'images' / 'coffee.jpg'
    features = [simmim_mm.extract_features(file, images) for file in (run, folder / 'run.pth')]
    assert torch.equal(*features)
    drawn = [simmim_mm.reconstruct(file, images) for file in (run, folder / 'run.pth')]
    assert torch.equal(*(one['prediction'] for one in drawn))
    cfg.model.backbone.init_cfg = dict(type='os.system', command='true')
    with pytest.raises(ValueError, match=r"type 'os\.system' is not a registered model"):
        simmim_mm.extract_features(save_checkpoint(tmp_path / 'unsafe.pth', cfg), images)


def test_patches_are_the_positions_whose_mean_is_the_feature(folder):
    found = simmim_mm.embed(folder / 'run.pth', folder / 'images', patches=True)
    assert found.features.ndim == 4
    pooled = simmim_mm.extract_features(folder / 'run.pth', found.paths)
    torch.testing.assert_close(found.features.mean((1, 2)), pooled)
    backbone, _ = simmim_mm.load_backbone(folder / 'run.pth')
    assert found.features.shape[-1] == backbone.out_channels[-1]


def test_the_command_writes_an_array_and_the_paths(folder, tmp_path, capsys):
    out = tmp_path / 'to' / 'features.npy'
    command = ['embed', str(folder / 'run.pth'), str(folder / 'images'), '--out', str(out)]
    main([*command, '--num-workers', '0', '--batch-size', '3'])
    shown = capsys.readouterr()
    assert 'empty.png' in shown.err and 'text.jpg' in shown.err
    array, paths = np.load(out), out.with_suffix('.txt').read_text().splitlines()
    found = simmim_mm.embed(folder / 'run.pth', folder / 'images')
    assert paths == found.paths
    np.testing.assert_allclose(array, found.features, rtol=1e-4, atol=1e-5)
    listed = out.with_suffix('.unreadable.txt').read_text()
    assert 'empty.png' in listed and 'text.jpg' in listed
    with pytest.raises(SystemExit):
        main(command)
    assert 'exists' in capsys.readouterr().err


@pytest.mark.parametrize('patches', [False, True])
def test_a_table_has_a_row_for_each_feature(folder, tmp_path, patches):
    out = tmp_path / 'features.csv'
    found = simmim_mm.embed(folder / 'run.pth', folder / 'images', out=out, patches=patches)
    with out.open(newline='') as file:
        header, *rows = csv.reader(file)
    first = header.index('f0')
    assert header[:first] == (['path', 'row', 'column'] if patches else ['path'])
    values = np.array([row[first:] for row in rows], dtype=np.float32)
    np.testing.assert_array_equal(values, found.features.flatten(0, -2))
    if patches:
        _, h, w, _ = found.features.shape
        assert (
            rows[w + 1][:3] == [found.paths[0], '1', '1'] and len(rows) == len(found.paths) * h * w
        )
    else:
        assert [row[0] for row in rows] == found.paths


def test_parquet(folder, tmp_path):
    parquet = pytest.importorskip('pyarrow.parquet')
    found = simmim_mm.embed(folder / 'run.pth', folder / 'images', out=tmp_path / 'f.parquet')
    table = parquet.read_table(tmp_path / 'f.parquet').to_pydict()
    assert table['path'] == found.paths
    np.testing.assert_array_equal(np.float32(table['feature']), found.features)


@pytest.mark.parametrize('name', ['features', 'features.xls'])
def test_a_file_that_cannot_be_written_is_refused_before_the_work(folder, tmp_path, name):
    with pytest.raises(ValueError, match=r'\.npy, \.csv, \.parquet'):
        simmim_mm.embed('nowhere.pth', folder / 'images', out=tmp_path / name)


def test_no_readable_image_is_an_error(folder):
    with pytest.raises(DataError, match=r'no image can be read: .*empty\.png'):
        simmim_mm.embed(folder / 'run.pth', folder / 'images' / 'empty.png')


class _Ends(list):
    """Paths that cannot be read to their end, as a disk that fails in the midst of a table."""

    def __iter__(self):
        yield self[0]
        raise OSError(28, 'no space left on device')

    def __getitem__(self, key):
        return _Ends(list.__getitem__(self, key)) if isinstance(key, slice) else 'a.png'


@pytest.mark.parametrize('ending', ['.npy', '.csv'])
def test_a_file_is_complete_or_as_it_was(tmp_path, ending):
    out = tmp_path / f'features{ending}'
    features = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    Embedding(['a.png', 'b.png'], features, {}).save(out)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(OSError, match='no space'):
        Embedding(_Ends(['a.png', 'b.png']), features + 1, {}).save(out)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def _interrupted(folder, out, after, **kwargs):
    """A call that is ended after so many images, in batches of two."""
    left = iter(range(after))

    def progress(total):
        if next(left, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _embed(folder, out, progress=progress, **kwargs)


def _embed(folder, out, run='run.pth', **kwargs):
    return simmim_mm.embed(folder / run, folder / 'images', out=out, batch_size=2, **kwargs)


@pytest.fixture
def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / 'copied')


@pytest.mark.parametrize(('ending', 'patches'), [('.npy', True), ('.csv', False)])
def test_an_interrupted_call_is_continued(copied, tmp_path, ending, patches):
    whole = _embed(copied, tmp_path / f'whole/f{ending}', patches=patches)
    out = tmp_path / f'again/f{ending}'
    _interrupted(copied, out, 3, patches=patches)
    assert not out.exists()
    # What is done is not looked at again: one that became unreadable, at the time it had.
    first = Path(whole.paths[0])
    time = first.stat().st_mtime_ns
    first.write_bytes(b'')
    os.utime(first, ns=(time, time))
    found = _embed(copied, out, patches=patches)
    assert found.done_before == 4 and whole.done_before == 0
    assert torch.equal(found.features, whole.features) and found.unreadable == whole.unreadable
    texts = [
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ('whole', 'again')
    ]
    assert texts[0] == texts[1] and f'f{ending}' in texts[0]


def test_what_a_kill_leaves_half_written_is_left_out(copied, tmp_path):
    whole, out = _embed(copied, tmp_path / 'whole.npy'), tmp_path / 'f.npy'
    _interrupted(copied, out, 3)
    with (tmp_path / '.f.npy.journal').open('r+') as journal:
        journal.truncate(len(journal.read()) - 5)
    with (tmp_path / '.f.npy.partial').open('ab') as features:
        features.write(b'123')
    found = _embed(copied, out)
    assert found.done_before == 2
    np.testing.assert_array_equal(np.load(out), whole.features)


def test_other_images_weights_and_settings_are_not_mixed(copied, tmp_path, caplog):
    out = tmp_path / 'f.npy'
    _interrupted(copied, out, 5)
    changed = sorted((copied / 'images').iterdir())[3]  # in the second of two batches
    Image.new('RGB', (60, 60), (200, 10, 10)).save(changed)
    os.utime(changed, ns=(1, 1))
    assert _embed(copied, out).done_before == 2
    np.testing.assert_array_equal(np.load(out), _embed(copied, tmp_path / 'again.npy').features)
    out.unlink()
    state = torch.load(copied / 'run.pth')
    state['state_dict']['backbone.ln1.weight'] *= 2
    torch.save(state, copied / 'other.pth')
    for others in dict(patches=True), dict(run='other.pth'):
        _interrupted(copied, out, 5)
        caplog.clear()
        assert _embed(copied, out, **others).done_before == 0
        assert 'begun with other images, weights or settings' in caplog.text
        expected = _embed(copied, None, **others).features
        np.testing.assert_array_equal(np.load(out), expected)
        out.unlink()


def test_features_of_any_layout_in_memory_are_kept(tmp_path):
    """As a map of a ViT, whose channels become the last axis, has it."""
    features = torch.arange(24.0).reshape(2, 3, 4).permute(0, 2, 1)
    with KeptFeatures(tmp_path / 'f.npy', ['a', 'b'], 'model') as kept:
        kept.add(2, features, {})
        kept.become_npy()
    np.testing.assert_array_equal(np.load(tmp_path / 'f.npy'), features)


@pytest.mark.parametrize(('ending', 'bytes_a_number'), [('.npy', 4), ('.csv', 4 + 18)])
def test_a_disk_without_room_is_refused_as_soon_as_the_size_is_known(
    folder, tmp_path, monkeypatch, ending, bytes_a_number
):
    found = _embed(folder, None)
    count = len(found.paths) + len(found.unreadable)
    needed = bytes_a_number * count * found.features[0].numel()
    usage, free = shutil.disk_usage(tmp_path), [0.8 * needed]
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage._replace(free=free[0]))
    done = []
    with pytest.raises(DiskFull, match=f'no space left for .*features of {count} images'):
        _embed(folder, tmp_path / f'f{ending}', progress=done.append)
    assert not done and not [*tmp_path.iterdir()]
    free[0] = 1.2 * needed
    _embed(folder, tmp_path / f'f{ending}')


def test_two_calls_do_not_write_one_file(folder, tmp_path):
    def second(total):
        with pytest.raises(DataError, match='is being written by another process'):
            _embed(folder, tmp_path / 'f.npy')
        tried.append(total)

    tried = []
    found = _embed(folder, tmp_path / 'f.npy', progress=second)
    assert len(tried) == len(found.paths) + len(found.unreadable)


def test_a_run_killed_when_its_table_was_written_leaves_nothing(folder, tmp_path, capsys):
    out = tmp_path / 'f.csv'
    _interrupted(folder, out, 5)
    _interrupted(folder, tmp_path / 'new.csv', 5)
    (tmp_path / 'new.csv').write_text('of an earlier run')
    os.utime(tmp_path / 'new.csv', ns=(1, 1))
    out.write_text('all of it')
    for path in (out, tmp_path / 'new.csv'):
        with pytest.raises(SystemExit):
            main(['embed', str(folder / 'run.pth'), str(folder / 'images'), '--out', str(path)])
    assert {path.name for path in tmp_path.glob('.*')} == {'.new.csv.partial', '.new.csv.journal'}


def test_of_an_adapted_backbone_of_mmpretrain(folder, tmp_path):
    cfg = tiny_config()
    other = dict(type='mmpretrain.PoolFormer', arch='s12', out_indices=(6,))
    cfg.model.backbone = dict(type='MaskedBackbone', backbone=other)
    cfg.model.neck = dict(type='PixelShuffleDecoder')
    path = save_checkpoint(tmp_path / 'run.pth', cfg)
    images = [str(folder / 'images' / 'coffee.jpg')]
    assert simmim_mm.extract_features(path, images).shape == (1, 512)


@pytest.mark.parametrize('ending', ['.npy', '.csv'])
def test_a_name_that_is_no_utf_8_is_written_as_it_is(folder, tmp_path, ending):
    image = os.path.join(os.fsencode(tmp_path), b'\xfcber.png')
    shutil.copy(folder / 'images' / 'gray, 2.png', image)
    out = tmp_path / f'features{ending}'
    found = simmim_mm.embed(folder / 'run.pth', os.fsdecode(image), out=out)
    assert found.paths == [os.fsdecode(image)]
    listed = out.with_suffix('.txt') if ending == '.npy' else out
    assert image in listed.read_bytes()
