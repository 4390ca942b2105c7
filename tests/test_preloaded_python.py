"""The Python of the tests of commands does what the ordinary one does."""

import os
import signal
import subprocess
import sys
import time

import pytest

PROGRAM = """
import atexit, os, sys
atexit.register(lambda: print('at exit'))
print(__name__, sys.argv[1:], os.getcwd(), os.environ.get('HUE'), input())
assert 'simmim_mm' not in sys.modules
print('aside', file=sys.stderr)
sys.exit(3)
"""


@pytest.fixture
def both(python, tmp_path):
    """Results of ordinary and preloaded process; the first is given what a shell would give."""
    (tmp_path / 'program.py').write_text(PROGRAM)
    (tmp_path / 'neighbor.py').write_text('import sys; print(*sys.argv)')

    def run(*arguments):
        return [
            (done.returncode, done.stdout, done.stderr)
            for done in (
                subprocess.run(
                    [executable, *arguments],
                    capture_output=True,
                    text=True,
                    cwd=tmp_path,
                    input='typed',
                    env=dict(os.environ, HUE='red'),
                )
                for executable in (sys.executable, python)
            )
        ]

    return run


@pytest.mark.parametrize(
    'arguments',
    [
        ('program.py', '-x', '1 2'),
        ('-u', 'program.py'),
        ('-c', PROGRAM),
        ('-c', PROGRAM, 'more'),
        ('-m', 'program', '--help'),
        ('-c', 'import neighbor'),
        ('-c', 'import sys; sys.exit("as a word")'),
        ('-c', 'import os; os.abort()'),
    ],
)
def test_arguments_streams_and_status_are_those_of_python(both, arguments):
    ordinary, preloaded = both(*arguments)
    if ordinary[0] < 0:  # a shell tells of signals so
        ordinary = (128 - ordinary[0], *ordinary[1:])
    assert preloaded == ordinary


def test_an_error_has_a_traceback_and_status_1(both):
    for status, _, said in both('-c', 'import json\n1 / 0'):
        assert status == 1 and said.endswith('ZeroDivisionError: division by zero\n')


def test_processes_draw_different_numbers(python):
    code = 'import numpy, random, torch; print(numpy.random.rand(), random.random(), torch.rand(1))'
    drawn = [subprocess.check_output([python, '-c', code]) for _ in range(2)]
    assert drawn[0] != drawn[1]


def test_a_program_ends_with_its_client(python, tmp_path):
    code = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
    client = subprocess.Popen([python, '-c', code], cwd=tmp_path)
    while not (tmp_path / 'pid').exists() or not (tmp_path / 'pid').read_text():
        time.sleep(0.01)
    client.send_signal(signal.SIGKILL)
    client.wait()
    pid = int((tmp_path / 'pid').read_text())
    deadline = time.monotonic() + 10
    while os.path.exists(f'/proc/{pid}') and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not os.path.exists(f'/proc/{pid}')
