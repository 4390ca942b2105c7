import os
import signal
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from simmim_mm.checkpoint.file_backend import written_whole
from simmim_mm.curation.files import _interruptible, _prepare_worker, map_files
from simmim_mm.engine.stop_request import StopRequest


def test_the_processes_end_at_once_before_a_training():
    """They are ended by SIGTERM, which what loads images for a training does not take."""
    with StopRequest():
        results = map_files(time.sleep, [0.0, 60.0], workers=2)
        assert next(results) is None
        start = time.monotonic()
        results.close()
    assert time.monotonic() - start < 20


def test_between_two_files_a_process_is_ended_without_an_exception():
    """One would be told by what runs at the exit of a process that was spawned, not forked."""
    if (process := os.fork()) == 0:
        _prepare_worker()
        _interruptible(str, 1)
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGTERM


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
