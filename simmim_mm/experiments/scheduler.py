"""Running trials one after another, or side by side."""

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from simmim_mm.experiments.report import duration
from simmim_mm.experiments.run import Run
from simmim_mm.experiments.trial import Outcome, Trial

_POLL = 0.2  # seconds


def run_trials(
    trials: Sequence[Trial],
    root: str | Path,
    command: Sequence[str],
    jobs: int = 1,
    report: Callable[[str], None] = lambda line: None,
) -> list[Outcome]:
    """Run trials, each in a folder of its own below ``root``.

    A folder is named after the trial and what its result depends on. It gets the config
    (``config.py``), what the process prints (``train.log``) and, at the end, ``result.json``: such
    a trial is not run again. One that was interrupted or failed continues from its last checkpoint.
    A trial that fails does not keep the others from running.

    Args:
        trials: What to run, in this order.
        command: What to call with ``CONFIG --work-dir FOLDER --resume``: ``simmim train``, for one.
        jobs: Trials at a time. They share the processor's cores evenly, unless OMP_NUM_THREADS is
            set, and take turns on the GPUs.
        report: Called with lines of progress.

    Returns:
        An outcome for every trial, in order.

    Raises:
        ValueError: If two trials are equal, or one is being run by another process.
    """
    runs = [Run(trial, Path(root), command, report) for trial in trials]
    if twice := [str(d) for d, n in Counter(run.work_dir for run in runs).items() if n > 1]:
        raise ValueError(f'two trials are equal in name, seed and settings: {", ".join(twice)}')
    for number, run in enumerate(runs, 1):
        run.label = f'[{number}/{len(runs)}] {run.trial.name}, seed {run.trial.seed}'
        run.read_result()
        if run.outcome:
            report(f'{run.label}: {run.trial.metric} {run.outcome.value:.4g} (finished before)')
    waiting = [run for run in runs if run.outcome is None]
    clock = Clock(waiting)
    running: dict[int, Run] = {}  # by slot
    environments = _environments(jobs)
    try:
        for run in waiting:
            run.lock()
        while waiting or running:
            for slot in set(range(jobs)) - set(running):
                if waiting:
                    run = waiting.pop(0)
                    run.start(environments[slot])
                    running[slot] = run
            time.sleep(_POLL)
            for slot, run in list(running.items()):
                if run.poll(clock.left):
                    del running[slot]
    finally:
        for run in running.values():
            run.stop()
        for run in runs:
            run.unlock()
    return [run.outcome for run in runs if run.outcome is not None]  # which all have


class Clock:
    """Estimates the time left from what was done since the start."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = list(runs)
        self._done_before = sum(run.fraction for run in self._runs)
        self._start = time.monotonic()

    def left(self) -> str:
        """Text to append to a line; nothing as long as little is known, or nothing is left."""
        done = sum(run.fraction for run in self._runs)
        left, gained = len(self._runs) - done, done - self._done_before
        if left <= 0 or gained < 0.02:
            return ''
        return f', about {duration(left / gained * (time.monotonic() - self._start))} left'


def _environments(jobs: int) -> list[dict]:
    """Environment variables for each of the processes that run at a time."""
    if jobs < 1:
        raise ValueError(f'--jobs must be at least 1, got {jobs}')
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
