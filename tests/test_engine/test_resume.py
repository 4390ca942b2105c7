import os
import shutil

import pytest
import torch

from simmim_mm.engine.resume import check_resumable, find_resumable


@pytest.fixture
def work_dir(make_runner, tmp_path):
    make_runner(max_epochs=1).train()
    return tmp_path / 'work'


def _cut(path, share=0.6):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def test_the_last_one_when_all_is_well(work_dir):
    found, notes = find_resumable(work_dir)
    assert found == str(work_dir / 'iter_5.pth')
    assert notes == [f'Resuming from {found}.']


@pytest.mark.parametrize('pointer', [None, '', 'gone/iter_99.pth', '\x00\xff garbage'])
def test_without_a_useful_last_checkpoint_file(work_dir, pointer):
    if pointer is None:
        (work_dir / 'last_checkpoint').unlink()
    else:
        (work_dir / 'last_checkpoint').write_text(pointer)
    assert find_resumable(work_dir)[0] == str(work_dir / 'iter_5.pth')


def test_damaged_files_are_passed_over_and_named(work_dir):
    _cut(work_dir / 'iter_5.pth')
    (work_dir / 'iter_4.pth').write_bytes(b'')
    found, notes = find_resumable(work_dir)
    assert found == str(work_dir / 'iter_3.pth')
    assert 'iter_5.pth' in notes[0] and 'iter_4.pth' in notes[1] and len(notes) == 3


def test_the_sound_one_before_a_diverged_one_is_taken(work_dir):
    checkpoint = torch.load(work_dir / 'iter_5.pth', weights_only=False)
    checkpoint['state_dict']['layer.bias'][0] = torch.nan
    torch.save(checkpoint, work_dir / 'iter_5.pth')
    found, notes = find_resumable(work_dir)
    assert found == str(work_dir / 'iter_4.pth')
    assert notes[0].startswith('Passed over') and 'layer.bias' in notes[0] and 'NaN' in notes[0]


def test_newest_by_time_not_by_name(work_dir):
    (work_dir / 'last_checkpoint').unlink()
    os.utime(work_dir / 'iter_2.pth')
    assert find_resumable(work_dir)[0] == str(work_dir / 'iter_2.pth')


def test_weights_only_and_foreign_files_are_not_resumed(work_dir):
    for path in work_dir.glob('iter_*.pth'):
        path.unlink()
    state = dict(state_dict=dict(w=torch.ones(1)), meta={}, message_hub={})
    torch.save(state, work_dir / 'best_loss.pth')
    torch.save(state, work_dir / 'epoch_3.pth')
    found, notes = find_resumable(work_dir)
    assert found is None
    assert any('epoch_3.pth has no optimizer' in note for note in notes)
    assert 'starting from the beginning' in notes[-1]


def test_moved_folder(work_dir, tmp_path):
    shutil.move(work_dir, tmp_path / 'moved')
    assert find_resumable(tmp_path / 'moved')[0] == str(tmp_path / 'moved' / 'iter_5.pth')


def test_empty_or_missing_folder(tmp_path):
    found, notes = find_resumable(tmp_path / 'nothing')
    assert found is None and len(notes) == 1


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / 'exploded'),)

    torch.save(dict(state_dict=dict(w=torch.ones(1)), meta=Bomb()), tmp_path / 'epoch_1.pth')
    with pytest.raises(ValueError, match='refused'):
        check_resumable(tmp_path / 'epoch_1.pth')
    assert not (tmp_path / 'exploded').exists()
