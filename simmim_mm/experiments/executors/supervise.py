"""On the machine where a cluster runs a job: the training, and the signals for it."""

import os
import signal
import subprocess
import time
from types import FrameType

from simmim_mm._processes import end_with_parent
from simmim_mm.experiments.executors.base import Task

INTERRUPTED = os.EX_TEMPFAIL  # 75, with which a training ends that is to be continued
# Preemption and the end of the time limit, as Slurm and submitit announce them, and canceling.
_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT)
_POLL = 0.1  # seconds


def supervise(task: Task) -> int:
    """Run a training to its end and return its exit code.

    Signals to this process ask the training to stop, and so does the end of this process. If they
    end it before it takes signals, its code is that of one that has stopped.

    Raises:
        KeyboardInterrupt: At its end, if SIGINT was among the signals: the job is not to go back
            into a queue.
    """
    received: list[int] = []
    process: subprocess.Popen | None = None

    def ask(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if process is not None:
            process.terminate()

    def prepare() -> None:
        end_with_parent(signal.SIGTERM)
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # Slurm may signal all processes of a job

    env = dict(os.environ)
    if task.threads is not None:
        env.setdefault('OMP_NUM_THREADS', str(task.threads))
    former = {number: signal.signal(number, ask) for number in _SIGNALS}
    try:
        process = task.launch(env, preexec_fn=prepare)
        if received:  # while it was started
            process.terminate()
        while (code := process.poll()) is None:
            time.sleep(_POLL)  # not wait(): what Ray sends to cancel a task does not end it
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    if signal.SIGINT in received:
        raise KeyboardInterrupt
    return INTERRUPTED if code == -signal.SIGTERM else code
