"""What runs trainings: processes of this machine, jobs of a cluster."""

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar


@dataclass(frozen=True)
class Task:
    """A training to be run.

    Attributes:
        name: For the lists of a cluster.
        command: The program and its arguments.
        work_dir: Folder of the training, absolute; what the program prints goes to its
            ``train.log``.
        cwd: Working directory of the program.
        threads: Of the processor, unless OMP_NUM_THREADS is set; None = what the library takes.
    """

    name: str
    command: Sequence[str]
    work_dir: Path
    cwd: str
    threads: int | None = None

    @property
    def log(self) -> Path:
        return self.work_dir / 'train.log'

    def launch(self, env: Mapping[str, str], **kwargs: Any) -> subprocess.Popen:
        """Start the process, in a session of its own: a Ctrl-C is its starter's to pass on."""
        with open(self.log, 'ab') as log:
            return subprocess.Popen(
                self.command,
                cwd=self.cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **kwargs,
            )


class Job(ABC):
    """A task that was handed to an executor.

    Attributes:
        name: What its executor calls it, for people.
        record: What :meth:`Executor.rejoin` needs to find it again; None if it ends with the
            process that started it.
    """

    name: str = ''
    record: dict | None = None

    @abstractmethod
    def poll(self) -> int | str | None:
        """The exit code of the training; None as long as it waits or runs.

        A job that ended without one is a text: what is known about that.
        """

    def status(self) -> str:
        """What keeps it from running; empty if nothing does."""
        return ''

    @abstractmethod
    def stop(self) -> None:
        """End it; the training can continue from its last checkpoint."""


class Executor(ABC):
    """Starts tasks.

    Attributes:
        name: As ``--executor`` calls it.
        jobs: Tasks at a time; None = all, where a queue decides.
        interval: Seconds from one look at the jobs to the next.
    """

    name: ClassVar[str]
    jobs: int | None
    interval: float = 0.2

    @abstractmethod
    def start(self, task: Task, slot: int, lock: int) -> Job:
        """Run a task.

        Args:
            slot: Which of those that run at a time, from 0.
            lock: Descriptor of the lock of its folder, for a process that may outlive this one.
        """

    def rejoin(self, record: dict) -> Job:
        """A job that an earlier process has started."""
        raise NotImplementedError(f'jobs of {self.name} end with the process that started them')

    def leave(self, jobs: Sequence[Job]) -> str:
        """End the jobs, or leave them running and say so: this process ends."""
        for job in jobs:
            job.stop()
        return ''
