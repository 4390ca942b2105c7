"""A step of the set-up: a command that runs once, its output in a log, its end in a stamp."""

import hashlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / '.venv'
STATE = VENV / 'setup'
PYTHON = str(VENV / 'bin' / 'python')
PIP_INSTALL = [PYTHON, '-m', 'pip', 'install', '--no-input', '--progress-bar', 'off']


class SetupError(Exception):
    """Something is wrong that the user can mend; the message is one line."""


class Step:
    """A command that runs once: until its key (what it installs) changes."""

    def __init__(self, name, say, command, key, hint='see the log', covered_by=None):
        self.name, self.say, self.command, self.hint = name, say, command, hint
        text = '\n'.join([str(sys.version_info[:2]), *map(str, key)])
        self.key = hashlib.sha256(text.encode()).hexdigest()
        self.stamp, self.begun = STATE / f'{name}.done', STATE / f'{name}.begun'
        self.covered_by = covered_by

    @property
    def done(self):
        if self.covered_by is not None and self.covered_by.done:
            return True
        return self.stamp.exists() and self.stamp.read_text() == self.key

    def run(self, title):
        print(f'{title} {self.say}', flush=True)
        start = time.time()
        command = list(self.command)
        if self.begun.exists() and command[: len(PIP_INSTALL)] == PIP_INSTALL:
            # Killed half-way, pip may have left a package that looks installed and is not.
            command.insert(len(PIP_INSTALL), '--ignore-installed')
        if self.stamp.exists():
            self.stamp.unlink()
        self.begun.touch()
        log = STATE / f'{self.name}.log'
        if run_logged(command, log) != 0:
            lines = log.read_text(errors='replace').splitlines()
            print('\n'.join('    ' + line for line in lines[-15:]), file=sys.stderr)
            raise SetupError(f'step "{self.name}" failed, log: {log}; {self.hint}')
        self.begun.unlink()
        self.stamp.write_text(self.key)
        print(f'      done in {clock(time.time() - start)}', flush=True)


def clock(seconds):
    minutes, seconds = divmod(round(seconds), 60)
    return f'{minutes}:{seconds:02d} min'


def run_logged(command, log):
    """Runs a command with its output in ``log``; says every half minute that it still runs."""
    environment = {k: v for k, v in os.environ.items() if k not in ('PYTHONPATH', 'PYTHONHOME')}
    environment['PIP_DISABLE_PIP_VERSION_CHECK'] = '1'
    start = time.time()
    with log.open('w') as output:
        process = subprocess.Popen(
            command,
            cwd=str(ROOT),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            while True:
                try:
                    return process.wait(timeout=30)
                except subprocess.TimeoutExpired:
                    compiled = re.findall(r'\[(\d+/\d+)\]', log.read_text(errors='replace'))
                    files = f', {compiled[-1]} files compiled' if compiled else ''
                    print(f'      {clock(time.time() - start)}{files}', flush=True)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
