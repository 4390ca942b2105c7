"""A trial as a process of its own, which continues where an earlier one was interrupted."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from simmim_mm.experiments.report import duration
from simmim_mm.experiments.scalars import (
    Progress,
    checkpoint_files,
    is_unscored,
    known_metrics,
    read_progress,
    seconds_taken,
)
from simmim_mm.experiments.trial import Outcome, Trial

if TYPE_CHECKING:
    from simmim_mm.engine.run_lock import RunLock

_REPORT = 30.0  # seconds from one line about a running trial to the next
_GRACE = 10.0  # seconds for a process to end when asked to
_TAIL = 15  # lines of its log that are shown of a failed trial
_RESULTS = ('value', 'seconds', 'scalars')  # of an outcome that are kept


class Run:
    """A trial in its folder, and its process."""

    _process: subprocess.Popen  # from start()

    def __init__(
        self, trial: Trial, root: Path, command: Sequence[str], report: Callable[[str], None]
    ) -> None:
        self.trial = trial
        self._command = command
        self._report = report
        self.cfg = trial.build_config()
        self.key = trial.key(self.cfg)
        self.work_dir = root / trial.folder_name(self.key)
        self.outcome: Outcome | None = None
        self.label = trial.name
        self._lock: RunLock | None = None
        self._env: dict = {}
        self._log_start = 0
        self._repeated = False
        self._reported = 0.0

    @property
    def fraction(self) -> float:
        """How much of the training is done, in 0..1."""
        return 1.0 if self.outcome else self._progress().fraction

    def _progress(self) -> Progress:
        return read_progress(self.work_dir, self.trial, self.cfg.get('train_cfg') or {})

    def read_result(self) -> None:
        """Take over the result of an earlier call, if there is one."""
        try:
            result = json.loads((self.work_dir / 'result.json').read_text())
        except FileNotFoundError:
            return
        unscored = is_unscored(self.trial.metric, result['value'])
        if result['key'] == self.key and not unscored:
            values = {name: result[name] for name in _RESULTS}
            self.outcome = Outcome(self.trial, self.work_dir, **values, cached=True)

    def lock(self) -> None:
        """Make the folder and hold it; the process inherits the lock, and may outlive this one.

        Raises:
            WorkDirInUse: If another process holds it.
        """
        from simmim_mm.engine.run_lock import RunLock  # imports torch

        self._lock = RunLock(self.work_dir, '.lock').acquire()

    def unlock(self) -> None:
        """Let go of the folder, in which no process is training any more."""
        if self._lock is not None:
            self._lock.release()

    def start(self, env: dict) -> None:
        """Start the process, or continue an interrupted training."""
        self._env = env
        config = self.work_dir / 'config.py'
        if not config.is_file():
            unfinished = config.with_name(f'.{os.getpid()}_{config.name}')
            self.cfg.dump(unfinished)
            os.replace(unfinished, config)
        done = self.fraction
        started = f'continues at {done:.0%}' if done else 'started'
        self._report(f'{self.label}: {started}, log in {self.work_dir}/train.log')
        with open(self.work_dir / 'train.log', 'ab') as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                [*self._command, str(config), '--work-dir', str(self.work_dir), '--resume'],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=env,
                start_new_session=True,  # a Ctrl-C is ours to pass on
                pass_fds=[] if self._lock is None else [self._lock.fileno()],
            )
        self._reported = time.monotonic()

    def poll(self, time_left: Callable[[], str]) -> bool:
        """Look at the process and report, with ``time_left()``; True when the trial has ended."""
        metric = self.trial.metric
        code = self._process.poll()
        if code is None:
            if time.monotonic() - self._reported > _REPORT:
                self._reported = time.monotonic()
                progress = self._progress()
                value = '' if progress.value is None else f', {metric} {progress.value:.4g}'
                self._report(f'{self.label}: {progress.fraction:.0%}{value}{time_left()}')
            return False

        progress = self._progress()
        if code == 0 and not progress.validated and not self._repeated:
            # It was interrupted between its last checkpoint and the validation that follows:
            # resumed from there, nothing is left to do, and nothing is validated. So it resumes
            # from the checkpoint before.
            self._repeated = True
            if checkpoints := checkpoint_files(self.work_dir):
                checkpoints[-1].unlink()
                self.start(self._env)
                return False
        # rounded as in result.json, so that a table made again is the same
        seconds = round(seconds_taken(self.work_dir), 1)
        self.outcome = Outcome(self.trial, self.work_dir, seconds=seconds)
        if code == 0 and progress.validated and not progress.unscored:
            self.outcome.value, self.outcome.scalars = progress.value, progress.scalars
            self._write_result()
            self._report(
                f'{self.label}: {metric} {progress.value:.4g}, took '
                f'{duration(self.outcome.seconds)}{time_left()}'
            )
        else:
            self.outcome.error = self._tail(code)
            self._report(f'{self.label}: FAILED\n{self.outcome.error}')
        self.unlock()
        return True

    def stop(self) -> None:
        """End the process; the training can continue from its last checkpoint."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE)
                break

    def _write_result(self) -> None:
        from simmim_mm.checkpoint.file_backend import AtomicLocalBackend  # imports torch

        result: dict = dict(key=self.key)
        result.update((name, getattr(self.trial, name)) for name in ('name', 'seed', 'metric'))
        result.update((name, getattr(self.outcome, name)) for name in _RESULTS)
        path = self.work_dir / 'result.json'
        AtomicLocalBackend().put_text(json.dumps(result, indent=2) + '\n', path)

    def _tail(self, code: int) -> str:
        """What the log ends with: the line that a tool writes for its user, if it did."""
        with open(self.work_dir / 'train.log', errors='replace') as log:
            log.seek(self._log_start)
            lines = log.read().splitlines()
        errors = [line for line in lines if line.startswith('error: ')]
        shown = errors[-1:] or lines[-_TAIL:]
        if code == 0:
            found = ', '.join(known_metrics(self.work_dir)) or 'nothing'
            shown = [f'no validation gave a finite {self.trial.metric}; it wrote {found}']
            if self._progress().unscored:
                shown = [
                    f'{self.trial.metric} is -1: the validation data have no object to score (none '
                    'of its classes or size, or crowds alone)'
                ]
        elif not errors:
            shown.append(f'the process ended with code {code}')
        shown.append(f'see {self.work_dir / "train.log"}')
        return '\n'.join(f'    {line}' for line in shown)
