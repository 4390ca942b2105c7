"""Trainings as processes of this machine."""

import os
import signal
import subprocess
from contextlib import suppress

from simmim_mm.experiments.executors.base import Executor, Job, Task

GRACE = 10.0  # seconds for a process to end when asked to


class LocalExecutor(Executor):
    """Processes that share the processor's cores evenly, and take turns on the GPUs.

    Args:
        jobs: Processes at a time.
    """

    name = 'local'

    def __init__(self, jobs: int = 1) -> None:
        if jobs < 1:
            raise ValueError(f'--jobs must be at least 1, got {jobs}')
        self.jobs = jobs
        self._environments = _environments(jobs)

    def start(self, task: Task, slot: int, lock: int) -> Job:
        return LocalJob(task.launch(self._environments[slot], pass_fds=[lock]))


class LocalJob(Job):
    def __init__(self, process: subprocess.Popen) -> None:
        self._process = process

    def poll(self) -> int | None:
        return self._process.poll()

    def stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE)
                break


def _environments(jobs: int) -> list[dict]:
    """Environment variables for each of the processes that run at a time."""
    if jobs == 1:
        return [dict(os.environ)]
    threads = str(max(1, len(os.sched_getaffinity(0)) // jobs))
    gpus = _gpus()
    environments = []
    for slot in range(jobs):
        env = {'OMP_NUM_THREADS': threads, **os.environ}
        if gpus:
            env['CUDA_VISIBLE_DEVICES'] = gpus[slot % len(gpus)]
        environments.append(env)
    return environments


def _gpus() -> list[str]:
    visible = os.environ.get('CUDA_VISIBLE_DEVICES')
    if visible is not None:
        return [name for name in visible.split(',') if name]
    from torch import cuda

    return [str(index) for index in range(cuda.device_count())]
