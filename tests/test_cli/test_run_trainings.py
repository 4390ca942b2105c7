"""What ends a comparison ends its trainings too."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# In the place of the training: a process that says who it is, and waits.
SCRIPT = """
import os
import signal
import sys
from pathlib import Path
from mmengine.config import Config
from simmim_mm.cli import common
from simmim_mm.experiments import Trial
from simmim_mm.experiments.executors import LocalExecutor

signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal; jobs in the
# background of a shell, as CI may be, ignore it
wait = 'import os, time; open("pid", "w").write(str(os.getpid())); time.sleep(60)'
Path('own_pid').write_text(str(os.getpid()))
common.train_command = lambda: [sys.executable, '-c', wait]
trial = Trial('a', Config(dict(train_cfg=dict(max_epochs=1))), 'loss', 0)
common.run_trainings([trial], Path('trials'), LocalExecutor())
"""


@pytest.mark.parametrize(
    ('number', 'code', 'message'),
    [
        (signal.SIGTERM, 75, ''),
        (signal.SIGUSR1, 75, ''),
        (signal.SIGINT, 130, 'interrupted: the same command continues from here'),
    ],
)
def test_signals_end_the_trainings(number, code, message, tmp_path, python):
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    process = subprocess.Popen(
        [python, '-c', SCRIPT], cwd=tmp_path, env=environment, stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (tmp_path / 'pid').is_file() or not (tmp_path / 'pid').read_text():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    os.kill(int((tmp_path / 'own_pid').read_text()), number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code and message in errors and 'Traceback' not in errors
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / 'pid').read_text()), 0)
