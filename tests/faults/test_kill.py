"""Killed at any moment, and started again with the same command, a run loses nothing."""

import pytest
from harness import COMMANDS, DEAD, PRETRAINING, differences, files, make_project, run, same

from simmim_mm.engine.resume import check_resumable, find_resumable

# One after another in the same work dir; each is the first such event of its start.
KILLS = {
    'before the first checkpoint has its name': dict(event='os.rename', file='epoch_1'),
    'before anything says which is the last': dict(event='os.rename', file='last_checkpoint'),
    'within the write of a checkpoint': dict(file_size=40_000),
    'as the file system takes its time to write': dict(event='os.fsync', file='epoch_', fsync=0.3),
    'within an epoch': dict(event='open', file='images/', at=30),
    'in a validation': dict(event='open', file='scalars.json', at=3),
    'before an outdated checkpoint is deleted': dict(event='os.remove', file='epoch_'),
    'before the former best one is deleted': dict(event='os.remove', file='best'),
    'as a picture is drawn at the end': dict(event='open', file='reconstruction'),
}


def test_a_pretraining_killed_again_and_again_is_the_same_to_the_last_bit(
    pretraining, python, project
):
    done = 0
    for moment, fault in KILLS.items():
        end = run(python, project, *PRETRAINING, **{'at': 1, 'do': 'SIGKILL', **fault})
        assert end.code in DEAD, (moment, end)
        newest, _ = find_resumable(project / 'work')
        former, done = done, int(newest.split('_')[-1].split('.')[0]) if newest else 0
        assert done >= former, moment
        assert all(not check_resumable(p) for p in (project / 'work').glob('epoch_*.pth')), moment
    end = run(python, project, *PRETRAINING)
    assert end.code == 0, end.output
    assert differences(pretraining / 'work/epoch_4.pth', project / 'work/epoch_4.pth') == []
    assert files(project) == files(pretraining)


def test_a_checkpoint_is_on_the_disk_before_anything_relies_on_it(pretraining):
    """Each file is flushed before it has its name, and named before another is deleted."""
    events = (pretraining.parent / 'events').read_text().splitlines()
    named = {i: event.split()[1] for i, event in enumerate(events) if 'os.rename' in event}
    for i, unfinished in named.items():
        assert events[i - 1] == f'os.fsync {unfinished}'
        assert events[i + 1] == 'os.fsync work'  # so that the name lasts
    order = [i for i, name in named.items() if '.epoch_' in name or '.last_checkpoint' in name]
    for former in (1, 2):  # two are kept
        deleted = events.index(f'os.remove work/epoch_{former}.pth')
        before = [named[i] for i in order if i < deleted]
        assert f'.epoch_{former + 2}.pth' in before[-2] and '.last_checkpoint' in before[-1]


@pytest.mark.parametrize(
    ('verb', 'fault'),
    [
        ('sweep', dict(event='os.rename', file='result.json')),
        ('scan', dict(event='os.rename', file='kept.txt')),
        ('cache', dict(event='os.rename', file='03.png')),
        ('shard', dict(event='os.rename', file='shard-000001.tar')),
        ('embed', dict(event='os.rename', file='features.npy')),
        ('export', dict(event='os.rename', file='timm.safetensors')),
    ],
)
def test_a_killed_command_is_run_again(verb, fault, python, project, tmp_path):
    whole = make_project(tmp_path / 'whole')
    assert run(python, whole, *COMMANDS[verb]).code == 0
    if verb == 'sweep':  # its first training has begun
        end = run(python, project, *COMMANDS[verb], at=1, do='SIGINT', file='train.log')
        assert end.code == 130 and 'the same command continues from here' in end.output, end
        end = run(python, project, *COMMANDS[verb], at=1, do='SIGTERM', file='train.log')
        assert end.code == 75 and 'Traceback' not in end.output, end
    else:
        end = run(python, project, *COMMANDS[verb], at=1, do='ENOSPC', **fault)
        assert end.code == 2 and 'Traceback' not in end.output, end
        error = next(line for line in end.output.splitlines() if line.startswith('error: '))
        assert 'No space left on device' in error and fault['file'] in error
        assert not [name for name in files(project) if 'simmim-tmp' in name]
    end = run(python, project, *COMMANDS[verb], at=1, do='SIGKILL', **fault)
    assert end.code in DEAD, end
    end = run(python, project, *COMMANDS[verb])
    assert end.code == 0, end.output
    assert same(whole, project) == []
