"""Moving and linking files, planned first; working on them in several processes."""

import json
import multiprocessing
import os
import shutil
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType
from typing import TypeVar

import torch

from simmim_mm._processes import end_with_parent
from simmim_mm.checkpoint.file_backend import AtomicLocalBackend
from simmim_mm.datasets.errors import DataError
from simmim_mm.engine.stop_request import SIGNALS

Plan = Iterable[tuple[str, str]]
S = TypeVar('S')
T = TypeVar('T')


def map_files(
    function: Callable[[S], T], files: Sequence[S], workers: int, at_once: int = 16
) -> Iterator[T]:
    """``map``, in so many processes; 0 works in this one. A process takes ``at_once`` files.

    Raises:
        DataError: If one of the processes is killed.
    """
    if workers < 1:
        yield from map(function, files)
        return
    size = max(1, min(at_once, len(files) // workers))
    parts = [files[i : i + size] for i in range(0, len(files), size)]
    processes: list[_Process] = []
    done: dict[int, list[T]] = {}
    given = i = 0
    try:
        with _signals_wait():  # until a process has its own handlers
            for _ in range(min(workers, len(parts))):
                process = _Process(function)
                process.start()
                processes.append(process)
        while i < len(parts):
            for process in processes:
                if process.number is None and given < min(len(parts), i + 4 * workers):
                    process.give(given, parts[given])
                    given += 1
            busy = [process.pipe for process in processes if process.number is not None]
            ready = wait(busy, timeout=0.0 if i in done else None)
            for process in processes:
                if process.pipe in ready:
                    process.take(done)
            if not ready:
                yield from done.pop(i)
                i += 1
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


class _Process(multiprocessing.Process):
    """A process that calls a function for a part of the files after the other.

    Each has a pipe of its own: the processes of a pool have locks in common, and wait for ever
    where one is killed that holds one.
    """

    number: int | None = None  # of the part that it works on

    def __init__(self, function: Callable) -> None:
        super().__init__(daemon=True)
        self._function = function
        self.pipe, self._theirs = multiprocessing.Pipe()

    def start(self) -> None:
        super().start()
        self._theirs.close()  # before the next one is forked: the pipe is to end with the process

    def run(self) -> None:
        _prepare_worker()
        while True:
            part = self._theirs.recv()
            try:
                answer = _map(self._function, part), None, ''
            except Exception as error:
                answer = None, error, traceback.format_exc()
            self._theirs.send(answer)

    def give(self, number: int, part: Sequence) -> None:
        self.number, self._part = number, part
        with self._alive():
            self.pipe.send(part)

    def take(self, done: dict[int, list]) -> None:
        """Note the results of a part by its number; raises what the function has raised."""
        with self._alive():
            results, error, where = self.pipe.recv()
        if error is not None:
            raise error from RuntimeError(f'in a process of its own:\n{where}')
        assert self.number is not None
        done[self.number] = results
        self.number = None

    @contextmanager
    def _alive(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, ConnectionError):
            first, last = self._part[0], self._part[-1]
            which = f'one of {len(self._part)} files, {first} to {last}'
            raise DataError(
                f'a process that read {which if isinstance(first, str) else "files"} was killed, '
                'most often for want of memory: take fewer workers'
            ) from None


@contextmanager
def _signals_wait() -> Iterator[None]:
    former = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def _prepare_worker() -> None:
    # As in a data loader: more threads would hang in a forked process, and gain nothing.
    torch.set_num_threads(1)
    # What a terminal or Slurm sends to all processes is for the first one, which ends the others.
    for number in SIGNALS:  # one that waits would be lost where it is ignored even for a moment
        signal.signal(number, _termination if number == signal.SIGTERM else signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    end_with_parent(signal.SIGTERM)


class _Ended(BaseException):
    """No Exception, which functions take for a fault of their file."""


class _Termination:
    """SIGTERM in a process of a pool: within a function an exception, so that it cleans up."""

    works = asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if not self.works:
            self.end()
        if not self.asked:
            self.asked = True
            raise _Ended

    def end(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)


_termination = _Termination()


def _map(function: Callable[[S], T], files: Iterable[S]) -> list[T]:
    try:
        _termination.works = True
        try:
            return [function(file) for file in files]
        finally:
            _termination.works = False
    finally:
        if _termination.asked:  # even if something has caught the exception
            _termination.end()


def check_outside(out: str | Path, root: str) -> None:
    """Raise a DataError if what is written would lie among the images that are read."""
    source, target = (os.path.realpath(folder) for folder in (root, out))
    if os.path.commonpath([source, target]) == source:
        raise DataError(f'{out} lies in {root}, whose images are read: choose a folder outside')


def keep_settings(path: Path, settings: dict, what: str) -> None:
    """Note what a folder is written with; a DataError if it was begun with something else.

    Args:
        path: The note, in that folder.
        settings: Of this call.
        what: The folder holds if they differ, for the message.
    """
    if not path.exists():
        AtomicLocalBackend().put_text(json.dumps(settings) + '\n', path)
    elif (before := json.loads(path.read_text())) != settings:
        changed = [
            f'{key} {before.get(key)} instead of {value}'
            for key, value in settings.items()
            if before.get(key) != value
        ]
        raise DataError(
            f'{path.parent} holds {what}: {", ".join(changed)}; take the same, or another folder'
        )


def plan_files(root: str, paths: Iterable[str], target: str) -> Iterator[tuple[str, str]]:
    """Old and new place of each file; subfolders of ``root`` become subfolders of ``target``."""
    for path in paths:
        yield os.path.join(root, path), os.path.join(target, path)


def apply_plan(plan: Plan, link: bool, tick: Callable[[], None] | None = None) -> int:
    """Move files, or make symbolic links to them, and return their number.

    Raises:
        DataError: If there is a file at one of the new places already; then nothing is done.
    """
    steps = list(plan)
    for _, new in steps:
        if os.path.lexists(new):
            raise DataError(f'{new} is there already: choose an empty folder')
    for old, new in steps:
        os.makedirs(os.path.dirname(new) or '.', exist_ok=True)
        if link:
            os.symlink(os.path.abspath(old), new)
        else:
            shutil.move(old, new)
        if tick is not None:
            tick()
    return len(steps)
