"""Moving and linking files, planned first."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator

from simmim_mm.datasets.errors import DataError

Plan = Iterable[tuple[str, str]]


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
