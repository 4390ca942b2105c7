"""Killed at any moment, and started again with the same command, a run loses nothing."""

from harness import COMMANDS, DEAD, PRETRAINING, differences, files, make_project, run

from simmim_mm.engine.resume import check_resumable, find_resumable

# One after another in the same work dir; each is the first such event of its start.
KILLS = {
    'before the first checkpoint has its name': dict(event='os.rename', file='epoch_1'),
    'before anything says which is the last': dict(event='os.rename', file='last_checkpoint'),
    'within the write of a checkpoint': dict(file_size=40_000),
    'within an epoch': dict(event='open', file='images/', at=30),
    'in a validation': dict(event='open', file='scalars.json', at=3),
    'before an outdated checkpoint is deleted': dict(event='os.remove', file='epoch_'),
    'before the former best one is deleted': dict(event='os.remove', file='best'),
    'as a picture is drawn at the end': dict(event='open', file='reconstruction'),
}


def test_a_pretraining_killed_again_and_again_is_the_same_to_the_last_bit(
    pretraining, python, tmp_path
):
    folder = make_project(tmp_path / 'killed')
    done = 0
    for moment, fault in KILLS.items():
        end = run(python, folder, *PRETRAINING, **{'at': 1, 'do': 'SIGKILL', **fault})
        assert end.code in DEAD, (moment, end)
        newest, _ = find_resumable(folder / 'work')
        former, done = done, int(newest.split('_')[-1].split('.')[0]) if newest else 0
        assert done >= former, moment
        assert all(not check_resumable(p) for p in (folder / 'work').glob('epoch_*.pth')), moment
    end = run(python, folder, *PRETRAINING)
    assert end.code == 0, end.output
    assert differences(pretraining / 'work/epoch_4.pth', folder / 'work/epoch_4.pth') == []
    assert files(folder) == files(pretraining)


