"""Trainings as tasks of Ray, on this machine or on a cluster that runs."""

import os
from collections.abc import Mapping
from typing import Any

from simmim_mm._stack import StackError
from simmim_mm.experiments.executors.base import Executor, Job, Task
from simmim_mm.experiments.executors.local import GRACE
from simmim_mm.experiments.executors.supervise import INTERRUPTED, supervise


class Preempted(RuntimeError):
    """The training was asked to stop by somebody else: Ray is to continue it."""


def _run(task: Task) -> int:
    code = supervise(task)
    if code == INTERRUPTED:
        raise Preempted
    return code


class RayExecutor(Executor):
    """Tasks of Ray, which end with this process.

    Args:
        jobs: Tasks at a time; None = all.
        options: Options of a Ray task: ``num_cpus`` (1), ``num_gpus`` (1, if there are any),
            ``memory``, ``resources``; and ``address`` of a cluster that runs. Without one, it is
            that of ``RAY_ADDRESS``, or one that was started here, or one is started.

    Raises:
        StackError: If Ray is not installed.
        ValueError: If an option is not known, or there is no cluster at the address.
    """

    name = 'ray'

    def __init__(self, jobs: int | None, options: Mapping[str, Any]) -> None:
        os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')  # it would report to its makers
        try:
            import ray  # type: ignore[import-not-found]  # too large for every environment
        except ImportError:
            raise StackError("--executor ray needs Ray: pip install '.[ray]'") from None
        self.jobs, self._ray = jobs, ray
        options = dict(options)
        address = options.pop('address', None)
        path = os.environ.get('PYTHONPATH')
        runtime = {'env_vars': {'PYTHONPATH': path}} if path else {}
        try:
            ray.init(address, log_to_driver=False, include_dashboard=False, runtime_env=runtime)
        except ConnectionError as error:
            raise ValueError(f'--executor ray: no cluster at {address}: {error}') from None
        has_gpus = ray.cluster_resources().get('GPU', 0) >= 1
        options = {'num_cpus': 1, 'num_gpus': int(has_gpus), **options}
        try:
            self._run = ray.remote(max_retries=-1, retry_exceptions=[Preempted], **options)(_run)
        except (TypeError, ValueError) as error:
            ray.shutdown()
            raise ValueError(f'--executor ray: {error}') from None

    def start(self, task: Task, slot: int, lock: int) -> Job:
        return RayJob(self._ray, self._run.options(name=task.name).remote(task))


class RayJob(Job):
    def __init__(self, ray: Any, result: Any) -> None:
        self._ray, self._result = ray, result
        self.name = f'Ray task {result.task_id().hex()}'

    def poll(self) -> int | str | None:
        ready, _ = self._ray.wait([self._result], timeout=0)
        if not ready:
            return None
        try:
            return self._ray.get(self._result)
        except self._ray.exceptions.RayError as error:
            return f'{self.name} failed: {error}'

    def stop(self) -> None:
        self._ray.cancel(self._result)
        self._ray.wait([self._result], timeout=GRACE)
