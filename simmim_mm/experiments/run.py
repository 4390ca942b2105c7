"""A trial in a folder of its own, which continues where it was interrupted."""

import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from simmim_mm.experiments.executors import Executor, Job, Task
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
_TAIL = 15  # lines of its log that are shown of a failed trial
_LOCK = '.lock'
_RESULTS = ('value', 'seconds', 'scalars')  # of an outcome that are kept


class Run:
    """A trial in its folder, and the job that runs it."""

    job: Job  # these three from start()
    _executor: Executor
    _slot: int

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
        self._job_file = self.work_dir / 'job.json'
        self._log_start = 0
        self._repeated = False
        self._reported = 0.0
        self._said = ''

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
            self._remove_leftovers()

    def _remove_leftovers(self) -> None:
        """What a call leaves that is killed when it has written the result."""
        self._job_file.unlink(missing_ok=True)
        if (self.work_dir / _LOCK).exists():
            from simmim_mm.engine.run_lock import WorkDirInUse  # imports torch

            with suppress(WorkDirInUse):
                self.lock()
                self.unlock()

    @property
    def submitted(self) -> bool:
        """Whether an earlier call has left a job for it."""
        return self._job_file.is_file()

    def lock(self) -> None:
        """Make the folder and hold it, as does a process that it is given to.

        Raises:
            WorkDirInUse: If another process holds it.
        """
        from simmim_mm.engine.run_lock import RunLock  # imports torch

        self._lock = RunLock(self.work_dir, _LOCK).acquire()

    def unlock(self) -> None:
        """Let go of the folder, in which no process is training any more."""
        if self._lock is not None:
            self._lock.release()

    def start(self, executor: Executor, slot: int) -> None:
        """Start the training, or continue an interrupted one, or wait for the job that runs it.

        Raises:
            ValueError: If that is the job of another executor.
        """
        self._executor, self._slot = executor, slot
        if self.submitted:
            self._rejoin()
        else:
            from simmim_mm.checkpoint.file_backend import AtomicLocalBackend  # imports torch

            config = self.work_dir / 'config.py'
            # Anew each time: one that is there may be of others, and would run.
            AtomicLocalBackend().put_text(self.cfg.pretty_text, config)
            self._submit(config)
        self._reported = time.monotonic()

    def _submit(self, config: Path) -> None:
        from simmim_mm.checkpoint.file_backend import AtomicLocalBackend  # imports torch

        assert self._lock is not None, 'not locked'
        done = self.fraction
        folder = config.parent.absolute()
        command = [*self._command, str(folder / 'config.py'), '--work-dir', str(folder), '--resume']
        task = Task(folder.name, command, folder, os.getcwd())
        self._log_start = task.log.stat().st_size if task.log.is_file() else 0
        self.job = self._executor.start(task, self._slot, self._lock.fileno())
        if self.job.record:
            record = dict(self.job.record, log_start=self._log_start)
            AtomicLocalBackend().put_text(json.dumps(record) + '\n', self._job_file)
        started = f'continues at {done:.0%}' if done else 'started'
        name = f' as {self.job.name}' if self.job.name else ''
        self._report(f'{self.label}: {started}{name}, log in {self.work_dir}/train.log')

    def _rejoin(self) -> None:
        record = json.loads(self._job_file.read_text())
        if record['executor'] != self._executor.name:
            raise ValueError(
                f'{self.work_dir} was given to {record["executor"]}, as job {record["id"]}: take '
                f'--executor {record["executor"]}; or cancel the job and delete {self._job_file}'
            )
        self._log_start = record['log_start']
        self.job = self._executor.rejoin(record)
        self._report(f'{self.label}: waits for {self.job.name}, log in {self.work_dir}/train.log')

    def poll(self, time_left: Callable[[], str]) -> bool:
        """Look at the job and report, with ``time_left()``; True when the trial has ended."""
        metric = self.trial.metric
        code = self.job.poll()
        if code is None:
            if time.monotonic() - self._reported > _REPORT:
                self._reported = time.monotonic()
                self._report_progress(time_left)
            return False

        progress = self._progress()
        if code == 0 and not progress.validated and not self._repeated:
            # It was interrupted between its last checkpoint and the validation that follows:
            # resumed from there, nothing is left to do, and nothing is validated. So it resumes
            # from the checkpoint before.
            self._repeated = True
            if checkpoints := checkpoint_files(self.work_dir):
                checkpoints[-1].unlink()
                self._job_file.unlink(missing_ok=True)
                self.start(self._executor, self._slot)
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
        self._job_file.unlink(missing_ok=True)
        self.unlock()
        return True

    def _report_progress(self, time_left: Callable[[], str]) -> None:
        status = self.job.status()
        if not status:
            progress = self._progress()
            value = (
                f', {self.trial.metric} {progress.value:.4g}' if progress.value is not None else ''
            )
            status = f'{progress.fraction:.0%}{value}{time_left()}'
        if status != self._said:  # a queue may be long
            self._said = status
            self._report(f'{self.label}: {status}')

    def _write_result(self) -> None:
        from simmim_mm.checkpoint.file_backend import AtomicLocalBackend  # imports torch

        result: dict = dict(key=self.key)
        result.update((name, getattr(self.trial, name)) for name in ('name', 'seed', 'metric'))
        result.update((name, getattr(self.outcome, name)) for name in _RESULTS)
        path = self.work_dir / 'result.json'
        AtomicLocalBackend().put_text(json.dumps(result, indent=2) + '\n', path)

    def _tail(self, code: int | str) -> str:
        """What the log ends with: the line that a tool writes for its user, if it did."""
        lines = []
        if (self.work_dir / 'train.log').is_file():  # a job may end before it starts anything
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
            shown.append(code if isinstance(code, str) else f'the process ended with code {code}')
        shown.append(f'see {self.work_dir / "train.log"}')
        return '\n'.join(f'    {line}' for line in shown)
