import os
import signal
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from simmim_mm.checkpoint.file_backend import written_whole
from simmim_mm.curation import files
from simmim_mm.curation.files import _map, _prepare_worker, map_files
from simmim_mm.datasets.errors import DataError
from simmim_mm.engine.stop_request import EXIT_CODE, StopRequest


@pytest.mark.parametrize('starts_in', [0.0, 1.0])
def test_the_processes_end_at_once_before_a_training(starts_in, monkeypatch):
    """They are ended by SIGTERM, which what loads images for a training does not take.

    Also one that is only starting, and has not yet said what SIGTERM is to do.
    """

    def prepare():
        time.sleep(starts_in * (os.getpid() % 2))
        _prepare_worker()

    monkeypatch.setattr(files, '_prepare_worker', prepare)
    with StopRequest():
        results = map_files(time.sleep, [0.0, 60.0], workers=2)
        assert next(results) is None
        start = time.monotonic()
        results.close()
    assert time.monotonic() - start < 20


def _status_of_a_process(act) -> int:
    """How a process ends in which ``act`` is called, as one that reads files."""
    if (process := os.fork()) == 0:
        try:
            _prepare_worker()
            act()
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _end_it() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_between_two_files_a_process_is_ended_without_an_exception():
    """One would be told by what runs at the exit of a process that was spawned, not forked."""

    def act():
        _map(str, [1])
        _end_it()

    assert _status_of_a_process(act) == -signal.SIGTERM


def test_a_process_ended_twice_cleans_up_whatever_catches_the_first_end(tmp_path):
    def clean_up_and_catch(name):
        try:
            _end_it()
        except BaseException:
            _end_it()
            (tmp_path / name).touch()

    assert _status_of_a_process(lambda: _map(clean_up_and_catch, ['a'])) == -signal.SIGTERM
    assert [*tmp_path.iterdir()] == [tmp_path / 'a']


def _tell_and_wait(folder, seconds):
    (folder / str(os.getpid())).touch()
    time.sleep(float(seconds))


def _when_two_work(folder, act) -> threading.Thread:
    def watch():
        while len([*folder.iterdir()]) < 2:
            time.sleep(0.01)
        act([int(path.name) for path in folder.iterdir()])

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def test_where_one_is_killed_it_is_said_and_the_others_end(tmp_path):
    """As the system does for want of memory; pools of Python wait for ever, some of the time."""
    ids = []

    def kill(found):
        ids.extend(found)
        os.kill(ids[0], signal.SIGKILL)

    thread = _when_two_work(tmp_path, kill)
    with pytest.raises(DataError, match=r'read one of 1 files, 60 to 60 was killed.* fewer'):
        list(map_files(partial(_tell_and_wait, tmp_path), ['60', '60'], workers=2))
    thread.join()
    assert not [number for number in ids if Path(f'/proc/{number}').exists()]


def test_a_signal_to_all_processes_ends_the_first_and_so_all(tmp_path):
    """As Slurm sends it, whatever each of the others is doing."""
    if (first := os.fork()) == 0:
        os.setpgid(0, 0)
        _when_two_work(tmp_path, lambda _: os.killpg(0, signal.SIGTERM))
        code = 1
        try:
            with StopRequest():
                list(map_files(partial(_tell_and_wait, tmp_path), [0, 0, 60, 60], workers=2))
        except SystemExit as stop:
            code = stop.code
        os._exit(code)
    start = time.monotonic()
    assert os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]) == EXIT_CODE
    assert time.monotonic() - start < 20
    assert not [path for path in tmp_path.iterdir() if Path('/proc', path.name).exists()]


def _write_for_long(folder, number):
    with written_whole(folder / f'{number}'):
        time.sleep(60.0)


@pytest.mark.parametrize('how', [signal.SIGKILL, signal.SIGTERM, KeyboardInterrupt])
def test_the_processes_end_with_their_parent_and_leave_nothing(how, tmp_path):
    """Also if it is killed. On a Ctrl-C, which all get, they wait for it to end them."""
    if (parent := os.fork()) == 0:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with suppress(KeyboardInterrupt):
            list(map_files(partial(_write_for_long, tmp_path), [1, 2], workers=2))
        os._exit(0)

    def wait_for(wanted):
        deadline = time.monotonic() + 20
        while wanted() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not wanted()

    wait_for(lambda: len([*tmp_path.iterdir()]) < 2)
    ids = [parent, *(file.name.split('.')[2] for file in tmp_path.iterdir())]
    states = [Path(f'/proc/{number}/stat') for number in ids]
    if how is KeyboardInterrupt:
        os.killpg(parent, signal.SIGINT)
    else:
        os.kill(parent, how)
    wait_for(lambda: [x for x in states if x.is_file() and ') Z ' not in x.read_text()])
    os.waitpid(parent, 0)
    assert not [*tmp_path.iterdir()]
