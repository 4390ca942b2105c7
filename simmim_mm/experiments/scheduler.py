"""Running trials one after another, or side by side."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from simmim_mm.experiments.executors import Executor, LocalExecutor
from simmim_mm.experiments.report import duration
from simmim_mm.experiments.run import Run
from simmim_mm.experiments.trial import Outcome, Trial


def run_trials(
    trials: Sequence[Trial],
    root: str | Path,
    command: Sequence[str],
    jobs: int = 1,
    report: Callable[[str], None] = lambda line: None,
    executor: Executor | None = None,
) -> list[Outcome]:
    """Run trials, each in a folder of its own below ``root``.

    A folder is named after the trial and what its result depends on. It gets the config
    (``config.py``), what the process prints (``train.log``) and, at the end, ``result.json``: such
    a trial is not run again. A job that outlives this process is noted (``job.json``), and waited
    for by the next call. One that was interrupted or failed continues from its last checkpoint.
    A trial that fails does not keep the others from running.

    Args:
        trials: What to run, in this order.
        command: What to call with ``CONFIG --work-dir FOLDER --resume``: ``simmim train``, for one.
        jobs: Trials at a time, without an ``executor``. They share the processor's cores evenly,
            unless OMP_NUM_THREADS is set, and take turns on the GPUs.
        report: Called with lines of progress.
        executor: Where trials run; None = in processes of this machine.

    Returns:
        An outcome for every trial, in order.

    Raises:
        ValueError: If two trials are equal, or one is being run by another process or executor.
    """
    executor = executor or LocalExecutor(jobs)
    runs = [Run(trial, Path(root), command, report) for trial in trials]
    if twice := [str(d) for d, n in Counter(run.work_dir for run in runs).items() if n > 1]:
        raise ValueError(f'two trials are equal in name, seed and settings: {", ".join(twice)}')
    for number, run in enumerate(runs, 1):
        run.label = f'[{number}/{len(runs)}] {run.trial.name}, seed {run.trial.seed}'
        run.read_result()
        if run.outcome:
            report(f'{run.label}: {run.trial.metric} {run.outcome.value:.4g} (finished before)')
    waiting = [run for run in runs if run.outcome is None]
    waiting.sort(key=lambda run: not run.submitted)
    clock = Clock(waiting)
    running: dict[int, Run] = {}  # by slot
    try:
        for run in waiting:
            run.lock()
        while waiting or running:
            for slot in sorted(set(range(executor.jobs or len(runs))) - set(running)):
                if waiting:
                    running[slot] = waiting.pop(0)  # first: a Ctrl-C may come in the start
                    running[slot].start(executor, slot)
            time.sleep(executor.interval)
            for slot, run in list(running.items()):
                if run.poll(clock.left):
                    del running[slot]
    finally:
        given = [run.job for run in running.values() if hasattr(run, 'job')]
        if given and (said := executor.leave(given)):
            report(said)
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
