"""Trainings as jobs of Slurm, or of submitit's local executor, which tries that on one machine."""

import math
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simmim_mm._stack import StackError
from simmim_mm.experiments.executors.base import Executor, Job, Task
from simmim_mm.experiments.executors.local import GRACE
from simmim_mm.experiments.executors.supervise import INTERRUPTED, supervise

if TYPE_CHECKING:
    import submitit

_TIMEOUTS = 1000  # times that a job may come to the end of its time limit
_TEN_DAYS = 14_400  # minutes; submitit's local executor ends a job after two
_QUEUE_AGE = 10.0  # seconds after which the queue is read again
_SETTLED = 30.0  # seconds within which a shared disk shows the result of a job that has ended


class _Submission:
    """What a job calls; submitit sees by ``checkpoint`` that it may go back into the queue."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def __call__(self) -> int:
        code = supervise(self.task)
        if code != INTERRUPTED:
            return code
        if _is_ended_by_slurm():
            sys.exit(code)
        name = os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')
        signal.raise_signal(signal.Signals[f'SIG{name}'])  # submitit requeues the job and exits
        raise AssertionError('submitit has let a preempted job go on')

    def checkpoint(self) -> Any:
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _is_ended_by_slurm() -> bool:
    """Whether Slurm ends this job, or requeues it, itself: a requeue would undo an scancel."""
    job = os.environ.get('SLURM_JOB_ID')
    if os.environ.get('SUBMITIT_EXECUTOR') != 'slurm' or not job:
        return False
    command = ['squeue', '--noheader', '--format=%T', f'--jobs={job}']
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.returncode == 0 and answer.stdout.strip() != 'RUNNING'


class _Inert(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f'it names {module}.{name}')


def _read_result(path: Path) -> tuple[str, Any]:
    """What submitit has written of a job: 'success' and its exit code, or 'error' and a traceback.

    A work dir of others may name a file of theirs, so that nothing in it runs.
    """
    try:
        with path.open('rb') as file:
            outcome, value = _Inert(file).load()
    except Exception as error:  # a pickle can fail in any way
        return 'error', f'{path} is not read as a result: {error}'
    sound = outcome == 'success' and isinstance(value, int)
    return ('success', value) if sound else ('error', str(value))


class SubmititExecutor(Executor):
    """Jobs of submitit's local executor, one for each task, as :class:`SlurmExecutor` has them.

    A job that is preempted, or comes to the end of its time limit, asks its training to stop, and
    continues it in the next attempt.

    Args:
        folder: For submitit's files; with Slurm, on a disk that all machines share.
        jobs: Jobs at a time; None = all.
        options: Names and values of submitit's ``AutoExecutor.update_parameters``.

    Raises:
        StackError: If submitit is not installed.
        ValueError: If an option is not known or does not fit, or there is no Slurm here.
    """

    name = 'submitit-local'
    _cluster = 'local'
    _defaults: Mapping[str, Any] = {'timeout_min': _TEN_DAYS, 'cpus_per_task': 1}
    _limit, _delay = 'timeout_min', 30  # name of the limit; seconds that a signal precedes it

    def __init__(self, folder: Path, jobs: int | None, options: Mapping[str, Any]) -> None:
        try:
            import submitit
        except ImportError:
            raise StackError(
                f"--executor {self.name} needs submitit: pip install '.[cluster]'"
            ) from None
        self.jobs = jobs
        try:
            timeouts = {f'{self._cluster}_max_num_timeout': _TIMEOUTS}
            self._submitit = submitit.AutoExecutor(folder, self._cluster, **timeouts)
            self._submitit.update_parameters(**{**self._defaults, **options})
        except (AssertionError, NameError, RuntimeError, TypeError, ValueError) as error:
            text = ' '.join(str(error).split())
            raise ValueError(f'--executor {self.name}: {text}') from None
        found = self._submitit.parameters
        self._threads = found.get('cpus_per_task')
        for name in ('nodes', 'tasks_per_node', 'ntasks_per_node'):
            if found.get(name, 1) != 1:
                raise ValueError(f'--executor-options: a training is one process; leave out {name}')
        minutes, delay = found[self._limit], found.get('signal_delay_s', self._delay)
        if minutes * 60 <= delay:
            raise ValueError(
                f'--executor-options: {minutes:g} minutes leave nothing to train in, as a training '
                f'is asked to stop {delay} seconds before the end; give more'
            )

    def start(self, task: Task, slot: int, lock: int) -> Job:
        return SubmititJob(self._submit(task), task)

    def _submit(self, task: Task) -> 'submitit.Job[int]':
        self._submitit.update_parameters(name=task.name)
        return self._submitit.submit(_Submission(replace(task, threads=self._threads)))


class SubmititJob(Job):
    def __init__(self, job: 'submitit.Job[int]', task: Task) -> None:
        self._job, self._task = job, task
        self.name = f'job {job.job_id}'

    def poll(self) -> int | str | None:
        over = self._is_over()  # before the look at its result
        if not self._job.paths.result_pickle.exists():
            return self._without_result() if over else None
        outcome, value = _read_result(self._job.paths.result_pickle)
        return value if outcome == 'success' else f'{self.name} failed: {value.strip()}'

    def stop(self) -> None:
        from simmim_mm.engine.run_lock import LOCK_FILE

        self._job.cancel()
        held = self._task.work_dir / LOCK_FILE  # the training outlives the job by its checkpoint
        deadline = time.monotonic() + GRACE
        while (not self._is_over() or held.exists()) and time.monotonic() < deadline:
            time.sleep(0.1)

    def _is_over(self) -> bool:
        return self._job.state != 'RUNNING'

    def _without_result(self) -> str:
        return f'{self.name} has left no result: canceled, or killed; see {self._job.paths.stderr}'


class SlurmExecutor(SubmititExecutor):
    """Jobs of Slurm. They go on when the process that has submitted them ends."""

    name = 'slurm'
    interval = 2.0
    _cluster = 'slurm'
    _defaults: Mapping[str, Any] = {}
    _limit, _delay = 'time', 90

    def __init__(self, folder: Path, jobs: int | None, options: Mapping[str, Any]) -> None:
        if not isinstance(options.get('slurm_time', options.get('timeout_min')), (int, float)):
            raise ValueError(
                '--executor slurm needs a time limit: --executor-options timeout_min=MINUTES'
            )
        super().__init__(folder, jobs, options)
        self._queue = _Queue()

    def start(self, task: Task, slot: int, lock: int) -> Job:
        from submitit.core.utils import FailedJobError

        try:
            return SlurmJob(self._submit(task), self._queue)
        except FailedJobError as error:
            raise ValueError(f'Slurm refuses {task.name}: {str(error).strip()}') from None

    def rejoin(self, record: Mapping[str, str]) -> Job:
        import submitit

        return SlurmJob(submitit.SlurmJob(record['folder'], record['id']), self._queue)

    def leave(self, jobs: Sequence[Job]) -> str:
        ids = ' '.join(job.record['id'] for job in jobs if job.record)
        return f'jobs go on, and the same command waits for them; `scancel {ids}` ends them'


class SlurmJob(SubmititJob):
    def __init__(self, job: 'submitit.Job[int]', queue: '_Queue') -> None:
        self._job, self._queue = job, queue
        self.name = f'Slurm job {job.job_id}'
        self.record = dict(executor='slurm', id=job.job_id, folder=str(job.paths.folder))
        self._seen = time.monotonic()  # when it was last in the queue

    def status(self) -> str:
        state = self._queue.state(self._job.job_id)
        return '' if state in ('', 'RUNNING') else f'{self.name} is {state.lower()}'

    def _is_over(self) -> bool:
        if self._queue.state(self._job.job_id) or self._queue.read_at < self._seen:
            self._seen = time.monotonic()
        return time.monotonic() - self._seen > _SETTLED


class _Queue:
    """This user's jobs, which Slurm is asked for at most every ten seconds."""

    def __init__(self) -> None:
        self.read_at = -math.inf  # of the monotonic clock
        self._asked_at = -math.inf
        self._states: dict[str, str] = {}

    def state(self, job_id: str) -> str:
        """State of a job, such as RUNNING; empty if it is not in the queue."""
        if time.monotonic() - self._asked_at > _QUEUE_AGE:
            command = ['squeue', '--me', '--noheader', '--format=%i %T']
            self._asked_at = time.monotonic()
            answer = subprocess.run(command, capture_output=True, text=True, check=False)
            if answer.returncode == 0:  # else the controller is away, and its jobs go on
                self.read_at = self._asked_at
                self._states = dict(line.split() for line in answer.stdout.splitlines())
        return self._states.get(job_id, '')
