"""Is there room for what a run will write?"""

import os
import shutil
from pathlib import Path

_LOG = 2**18  # bytes of config and log


class DiskFull(ValueError):
    """What a run will write does not fit; the message says how much is needed and free."""


def require_space(folder: str | Path, needed: int = _LOG, what: str = 'config and log') -> None:
    """Refuse a folder, existing or not, on a disk with less than ``needed`` bytes free.

    One that cannot be written to for another reason is let pass.

    Raises:
        DiskFull: If there is less.
    """
    folder = Path(folder)
    there = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(there).free
    if free < needed and os.access(there, os.W_OK):  # else writing says what is wrong
        raise DiskFull(
            f'no space left for {folder}: {what} take {needed / 2**20:,.1f} MiB, '
            f'{free / 2**20:,.1f} are free'
        )
