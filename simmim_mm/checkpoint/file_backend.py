"""Files that are written whole or not at all."""

import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import IO, Any

import torch
from mmengine.fileio import LocalBackend, register_backend

TMP_SUFFIX = '.simmim-tmp'


class AtomicLocalBackend(LocalBackend):
    """Local files that are either the old or the new content, even if the process is killed.

    Writes to a hidden file in the same folder, flushes it to the disk, and renames it over the
    target, which POSIX does in one step. Chosen with ``backend_args=dict(backend='atomic')``.
    """

    def put(self, obj: bytes | memoryview, filepath: str | Path) -> None:
        """Write bytes; the folder is made if needed."""
        with written_whole(filepath) as file:
            self._write(file, obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text; the folder is made if needed."""
        self.put(obj.encode(encoding), filepath)

    @staticmethod
    def _write(file: IO[bytes], obj: bytes | memoryview) -> None:
        file.write(obj)


@contextmanager
def named_failures(path: str | Path) -> Iterator[None]:
    """Give an OSError the path: a write that fails, as on a full disk, does not know its file."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def written_whole(path: str | Path, mode: str = 'wb', **kwargs: Any) -> Iterator[IO]:
    """A file to write to, which becomes ``path`` when all of it is on the disk, or not at all.

    The folder is made if needed; ``mode`` and further arguments are those of ``open``.

    Raises:
        OSError: With the path in its message, as the disk is full.
    """
    path = Path(path)
    # The process id keeps two runs that share a folder apart.
    tmp = path.with_name(f'.{path.name}.{os.getpid()}{TMP_SUFFIX}')
    try:
        with named_failures(path):  # nobody knows the temporary file
            path.parent.mkdir(parents=True, exist_ok=True)
            with tmp.open(mode, **kwargs) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(tmp, path)
    except BaseException:
        with suppress(OSError):
            tmp.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_lines(lines: Iterable[str], path: str | Path) -> None:
    """A text file with one entry a line, as ``ImageDataset(ann_file=...)`` reads it.

    Paths that are no UTF-8 are written byte by byte, as everywhere in this package.
    """
    with written_whole(path, 'w', encoding='utf-8', errors='surrogateescape') as file:
        file.writelines(f'{line}\n' for line in lines)


def write_checkpoint(checkpoint: Any, path: str | Path) -> None:
    """``torch.save`` into a file that appears complete or not at all."""
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    AtomicLocalBackend().put(buffer.getbuffer(), path)


def remove_stale_files(folder: str | Path, name: str = '') -> list[str]:
    """Delete what killed processes left of unfinished writes; returns the names.

    ``name`` leaves it at those of one file, in a folder that others may write to.
    """
    stale = sorted(Path(folder).glob(f'.{escape(name)}*{TMP_SUFFIX}'))
    for path in stale:
        path.unlink(missing_ok=True)
    return [path.name for path in stale]


def sync_folder(folder: Path) -> None:
    """Make a renaming in it survive a power cut."""
    # Not every system can open a folder.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


register_backend('atomic', AtomicLocalBackend, force=True)
