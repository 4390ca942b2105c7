"""Where trainings run: in processes of this machine, or as jobs of a cluster."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simmim_mm.experiments.executors.base import Executor, Job, Task
from simmim_mm.experiments.executors.local import LocalExecutor

__all__ = ['Executor', 'Job', 'LocalExecutor', 'Task', 'make_executor']


def make_executor(
    name: str, folder: Path, jobs: int | None = None, options: Mapping[str, Any] | None = None
) -> Executor:
    """The executor of a name.

    Args:
        folder: For its own files.
        jobs: Trainings at a time; None = one in processes of this machine, elsewhere all.
        options: What a job asks of its cluster, in the words of submitit or Ray.

    Raises:
        StackError: If a library is missing.
        ValueError: If an option is not known or does not fit.
    """
    options = options or {}
    if jobs is not None and jobs < 1:
        raise ValueError(f'--jobs must be at least 1, got {jobs}')
    if name == 'local':
        if options:
            raise ValueError('--executor-options are of a cluster: choose it with --executor')
        return LocalExecutor(jobs or 1)
    if name == 'ray':
        from simmim_mm.experiments.executors.ray_tasks import RayExecutor

        return RayExecutor(jobs, options)
    from simmim_mm.experiments.executors.slurm import SlurmExecutor, SubmititExecutor

    return (SlurmExecutor if name == 'slurm' else SubmititExecutor)(folder, jobs, options)
