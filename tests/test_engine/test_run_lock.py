"""A work dir belongs to one run, and a run that is gone does not keep it."""

import errno
import fcntl
import json
import os
import socket
import subprocess
import sys

import pytest

from simmim_mm.engine import run_lock
from simmim_mm.engine.run_lock import LOCK_FILE, RunLock, WorkDirInUse

HOST = socket.gethostname()


@pytest.fixture(params=['flock', 'none', 'local'])
def locks(request, monkeypatch):
    """File systems whose locks work, are absent, or are seen by their own machine only."""
    if request.param == 'none':
        monkeypatch.setattr(fcntl, 'flock', lambda *_: _refuse(errno.ENOLCK))
    elif request.param == 'local':
        monkeypatch.setattr(fcntl, 'flock', lambda *_: None)
    monkeypatch.setattr(run_lock, 'BEAT', 0.05)
    return request.param


def _refuse(number):
    raise OSError(number, os.strerror(number))


def _left(folder, **record):
    (folder / LOCK_FILE).write_text(json.dumps(record))


@pytest.fixture
def other():
    """A process that is alive: its number, and when it started."""
    with subprocess.Popen(
        [sys.executable, '-S', '-c', 'input()'], stdin=subprocess.PIPE
    ) as process:
        yield dict(pid=process.pid, started=run_lock._process_start(process.pid), host=HOST)
        process.communicate(b'\n')


def test_a_second_run_is_refused_with_host_and_process(tmp_path):
    with RunLock(tmp_path):
        with pytest.raises(WorkDirInUse, match=f'process {os.getpid()} on {HOST}') as refused:
            RunLock(tmp_path).acquire()
        assert f'delete {tmp_path / LOCK_FILE}' in str(refused.value)
        with RunLock(tmp_path / 'another'):
            pass
    with RunLock(tmp_path):
        pass
    assert os.listdir(tmp_path) == []


def test_without_locks_the_record_decides(tmp_path, other, monkeypatch):
    monkeypatch.setattr(fcntl, 'flock', lambda *_: _refuse(errno.ENOSYS))
    _left(tmp_path, **other)
    with pytest.raises(WorkDirInUse, match=f'process {other["pid"]} on {HOST}'):
        RunLock(tmp_path).acquire()
    # the number has been given to another process since
    _left(tmp_path, **dict(other, started='boot 123'))
    with RunLock(tmp_path):
        assert json.loads((tmp_path / LOCK_FILE).read_text())['pid'] == os.getpid()


@pytest.mark.parametrize('content', ['', 'half a rec', '[]', '{"pid": 1}'])
def test_a_file_that_a_killed_run_left_is_taken_over(tmp_path, locks, content):
    with subprocess.Popen([sys.executable, '-S', '-c', '']) as gone:
        pass
    _left(tmp_path, pid=gone.pid, started='boot 1', host=HOST)
    with RunLock(tmp_path):
        pass
    (tmp_path / LOCK_FILE).write_text(content)
    with RunLock(tmp_path):
        pass


def test_another_host_shows_that_it_is_alive(tmp_path, locks, monkeypatch):
    """Its clock may be wrong by half an hour: only whether the time changes counts."""
    if locks == 'flock':
        locks_work = fcntl.flock
        monkeypatch.setattr(fcntl, 'flock', lambda *_: None)  # not seen from here
    with RunLock(tmp_path):  # which touches the file, and pretends to be elsewhere
        _left(tmp_path, pid=7, started='boot 1', host='node7')
        with pytest.raises(WorkDirInUse, match='process 7 on node7'):
            RunLock(tmp_path).acquire()
    if locks == 'flock':
        monkeypatch.setattr(fcntl, 'flock', locks_work)
    _left(tmp_path, pid=7, started='boot 1', host='node7')
    with RunLock(tmp_path):
        pass


def test_a_long_dead_host_is_not_waited_for(tmp_path, monkeypatch):
    _left(tmp_path, pid=7, started='boot 1', host='node7')
    os.utime(tmp_path / LOCK_FILE, (1e9, 1e9))
    monkeypatch.setattr(run_lock.time, 'sleep', lambda _: pytest.fail('waits'))
    with RunLock(tmp_path):
        pass


def test_forked_processes_do_not_hold_it_and_heirs_do(tmp_path):
    """A data loader's worker outlives a killed run; a trial's training its comparison."""
    lock = RunLock(tmp_path).acquire()
    go, ready = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.write(ready[1], b'.')
        os.read(go[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    lock.forget()  # as a SIGKILL does
    with RunLock(tmp_path) as again:
        command = [sys.executable, '-S', '-c', 'input()']
        heir = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[again.fileno()])
        again.forget()
    with pytest.raises(WorkDirInUse, match='or one that it has started'):
        RunLock(tmp_path).acquire()
    heir.communicate(b'\n')
    with RunLock(tmp_path):
        pass
    os.write(go[1], b'.')
    os.waitpid(child, 0)


def test_a_file_that_is_removed_meanwhile_is_not_held(tmp_path, monkeypatch):
    """The first run ends, and unlinks it, between our opening and our locking it."""
    first, flock, calls = RunLock(tmp_path).acquire(), fcntl.flock, []

    def end_first(*args):
        if not calls:
            calls.append(first.release())
        flock(*args)

    monkeypatch.setattr(fcntl, 'flock', end_first)
    with RunLock(tmp_path), pytest.raises(WorkDirInUse):
        RunLock(tmp_path).acquire()


def test_a_file_in_the_place_of_the_folder_is_one_error(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(NotADirectoryError, match='file is a file, not a work dir'):
        RunLock(tmp_path / 'file').acquire()
