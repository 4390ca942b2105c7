"""Moving and linking files, planned first; working on them in several processes."""

import json
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from simmim_mm._processes import end_with_parent
from simmim_mm.checkpoint.file_backend import AtomicLocalBackend
from simmim_mm.datasets.errors import DataError

Plan = Iterable[tuple[str, str]]
S = TypeVar('S')
T = TypeVar('T')


def map_files(
    function: Callable[[S], T], files: Sequence[S], workers: int, at_once: int = 16
) -> Iterator[T]:
    """``map``, in so many processes; 0 works in this one. A process takes ``at_once`` files."""
    if workers < 1:
        yield from map(function, files)
        return
    chunk = max(1, min(at_once, len(files) // workers))
    with multiprocessing.Pool(workers, _prepare_worker) as pool:
        yield from pool.imap(partial(_interruptible, function), files, chunk)


def _prepare_worker() -> None:
    # As in a data loader: more threads would hang in a forked process, and gain nothing.
    torch.set_num_threads(1)
    # A terminal sends Ctrl-C to all processes; the first one ends the others, by SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent(signal.SIGTERM)


def _interruptible(function: Callable[[S], T], file: S) -> T:
    """Call a function that SIGTERM ends as an exception: it removes what it has half written."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        return function(file)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


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
