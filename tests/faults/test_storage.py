"""A full, read-only or vanishing disk: a clear line, and the older checkpoints intact."""

import re
import subprocess

import pytest
from harness import PRETRAINING, differences, files, run

from simmim_mm.engine.resume import check_resumable


@pytest.fixture
def small_disk(tmp_path):
    """A function that gives a file system of a size; again, with another size or read-only."""
    folder, mounted = tmp_path / 'disk', []

    def mount(*options: str):
        folder.mkdir(exist_ok=True)
        options = ('remount', *options) if mounted else options
        command = ['mount', '-t', 'tmpfs', '-o', ','.join(options), 'tmpfs', str(folder)]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip('mounting needs root')
        mounted.append(folder)
        return folder

    yield mount
    if mounted:
        subprocess.run(['umount', str(folder)], check=True)


def _error(end) -> str:
    assert end.code == 2 and 'Traceback' not in end.output, end.output
    return next(line for line in end.output.splitlines() if line.startswith('error: '))


def test_a_full_disk_costs_nothing_but_time(pretraining, python, project, small_disk):
    """The third checkpoint does not fit; with more room the same command ends as if it had."""
    disk = small_disk('size=480k')
    command = (*PRETRAINING[:3], str(disk / 'work'), '--resume')
    error = _error(run(python, project, *command))
    assert 'No space left on device' in error and 'epoch_2.pth cannot be written' in error
    check_resumable(disk / 'work/epoch_1.pth')
    assert not [name for name in files(disk) if 'simmim-tmp' in name]

    small_disk('ro', 'size=10m')
    assert 'Read-only file system' in _error(run(python, project, *command))
    small_disk('rw', 'size=10m')
    assert run(python, project, *command).code == 0
    whole = pretraining / 'work'
    assert differences(whole / 'epoch_4.pth', disk / 'work/epoch_4.pth') == []
    assert files(disk / 'work') == files(whole)


@pytest.mark.parametrize(
    ('size', 'what'), [('64k', 'config and log'), ('400k', 'the weights of a checkpoint')]
)
def test_no_room_for_log_or_checkpoint_is_said_before_training(
    python, project, small_disk, size, what
):
    disk = small_disk(f'size={size}')
    wide = 'model.backbone.arch.feedforward_channels=2000'
    command = (*PRETRAINING[:3], str(disk / 'work'), '--cfg-options', wide)
    end = run(python, project, *command)
    assert re.search(f'no space left for .*: {what} take', _error(end))
    assert 'Epoch(train)' not in end.output


def test_a_file_that_cannot_grow_is_not_half_a_checkpoint(python, project):
    """As with a quota, or a limit of the file system."""
    error = _error(run(python, project, *PRETRAINING, file_size=50_000))
    assert 'epoch_1.pth cannot be written: File too large' in error
    assert not [name for name in files(project) if 'epoch' in name or 'tmp' in name]


def test_permission_denied_names_the_folder(python, project):
    end = run(python, project, *PRETRAINING, at=1, event='open', file='work/', do='EACCES')
    assert 'Permission denied' in _error(end) and 'work/' in _error(end)


def test_a_work_dir_that_is_removed_while_running(python, project):
    """Renaming it away at the third step ends the training where it writes next."""
    end = run(python, project, *PRETRAINING, at=45, event='open', file='images', do='remove')
    assert 'No such file' in _error(end) and 'work' in _error(end)
