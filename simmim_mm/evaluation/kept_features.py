"""Features on disk while they are computed, so that memory is bounded and a killed run goes on."""

import fcntl
import hashlib
import json
import logging
import math
import os
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from simmim_mm.checkpoint.file_backend import named_failures, sync_folder
from simmim_mm.datasets.errors import DataError
from simmim_mm.datasets.image_folder import time_of_change

_HEADER = 128  # bytes of an .npy file before its numbers
_EVERY = 2.0  # seconds of work that a kill may cost
_logger = logging.getLogger(__name__)


class KeptFeatures:
    """Features of the first of many images, in a file that grows batch by batch.

    Beside ``features.npy`` lie ``.features.npy.partial``, which is an array but for its header, and
    ``.features.npy.journal``: a first line that says of which images and model, and one for each
    batch that is on the disk. Images that have changed since, and all after them, are computed
    anew; with other images or another model, everything. A context manager, which keeps what it
    was given, however it ends.

    Args:
        out: The file that the features are meant for.
        paths: All images.
        identity: What the features depend on besides them, for JSON.

    Raises:
        DataError: If another process is writing to ``out``.
    """

    def __init__(self, out: str | Path, paths: Sequence[str], identity: Any) -> None:
        self.out, self.paths = Path(out), paths
        self.done = 0  # images that need no more work
        self.rows = 0  # features of them
        self.shape: list[int] = []  # of one
        self.unreadable: dict[str, str] = {}
        self.data, self._journal = _places(self.out)
        self._lines: list[str] = []
        digest = hashlib.sha256(json.dumps(identity, default=str).encode())
        for path in paths:
            digest.update(b'\0' + os.fsencode(path))
        self._first = digest.hexdigest() + '\n'

    def __enter__(self) -> 'KeptFeatures':
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.data, 'ab')
        try:
            self._lock()
            kept = self._resume()
            with self._journal.open('a', encoding='utf-8') as journal:
                journal.truncate(kept)
            self._lines = [] if kept else [self._first]
            self._file.truncate(_size(self.rows, self.shape))
        except BaseException:
            self._file.close()
            raise
        self._synced = time.monotonic()
        return self

    def __exit__(self, *_: Any) -> None:
        try:
            self._sync()
        finally:
            self._file.close()

    def add(self, done: int, features: Tensor, failed: dict[str, str]) -> None:
        """Append features, ``(n, ...)`` float32, of the next images, which end at number ``done``.

        Raises:
            OSError: With the path in its message, as the disk is full.
        """
        stamp = self._stamp(self.done, done)
        if len(features):
            self.shape = [*features.shape[1:]]
            with self._named():
                self._file.write(np.ascontiguousarray(features.numpy(), '<f4').data)
        self.done, self.rows = done, self.rows + len(features)
        self.unreadable.update(failed)
        self._lines.append(json.dumps([done, self.rows, self.shape, stamp, failed]) + '\n')
        if time.monotonic() - self._synced > _EVERY:
            self._sync()

    def array(self) -> np.ndarray:
        """All of them, ``(rows, ...)`` float32, on the disk; changes to it stay in memory."""
        self._sync()
        return np.memmap(self.data, '<f4', 'c', offset=_HEADER, shape=(self.rows, *self.shape))

    def become_npy(self) -> None:
        """Give the file its header and its name, ``out``."""
        self._sync()
        with self.data.open('r+b') as file:
            file.write(_npy_header((self.rows, *self.shape)))
            file.flush()
            os.fsync(file.fileno())
        os.replace(self.data, self.out)
        sync_folder(self.out.parent)
        self.discard()

    def discard(self) -> None:
        """Remove what only an unfinished run needs."""
        self._lines = []
        self._file.close()
        for path in (self.data, self._journal):
            path.unlink(missing_ok=True)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f'{self.out} is being written by another process') from None
        except OSError:  # a file system without locks
            return
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(self._file.fileno()), os.stat(self.data)):
                return
        raise DataError(f'{self.out} was just written by another process')

    def _resume(self) -> int:
        """Take what is there; the number of bytes of the journal that hold."""
        size, kept = os.fstat(self._file.fileno()).st_size, 0
        with suppress(FileNotFoundError), self._journal.open('rb') as journal:
            if (first := next(journal, b'')) != self._first.encode():
                if first:
                    text = '%s was begun with other images, weights or settings: all over again'
                    _logger.warning(text, self.out)
                return 0
            kept = len(first)
            for line in journal:
                try:
                    done, rows, shape, stamp, failed = json.loads(line)
                except ValueError:  # cut off by a kill
                    break
                if _size(rows, shape) > size or stamp != self._stamp(self.done, done):
                    break
                self.done, self.rows, self.shape = done, rows, shape
                self.unreadable.update(failed)
                kept += len(line)
        return kept

    def _stamp(self, start: int, stop: int) -> str:
        """Changes when one of these images does."""
        times = [time_of_change(path) for path in self.paths[start:stop]]
        return hashlib.sha256(str(times).encode()).hexdigest()[:16]

    def _sync(self) -> None:
        """Bring it to the disk: features first, so that the journal never says too much."""
        if self._lines:
            with self._named():
                self._file.flush()
                os.fsync(self._file.fileno())
                with self._journal.open('a', encoding='utf-8') as journal:
                    journal.writelines(self._lines)
            self._lines = []
        self._synced = time.monotonic()

    @contextmanager
    def _named(self) -> Iterator[None]:
        """A write that fails is not tried again."""
        try:
            with named_failures(self.data):
                yield
        except OSError:
            self._lines = []
            with suppress(OSError):
                self._file.close()
            raise


def remove_finished(out: str | Path) -> None:
    """Remove what a run left that was killed when ``out`` had all of it."""
    out = Path(out)
    data, journal = _places(out)
    if out.exists() and (not data.exists() or data.stat().st_mtime_ns <= out.stat().st_mtime_ns):
        data.unlink(missing_ok=True)
        journal.unlink(missing_ok=True)


def _places(out: Path) -> tuple[Path, Path]:
    partial, journal = (out.with_name(f'.{out.name}.{kind}') for kind in ('partial', 'journal'))
    return partial, journal


def _size(rows: int, shape: Sequence[int]) -> int:
    return _HEADER + 4 * rows * math.prod(shape)


def _npy_header(shape: tuple[int, ...]) -> bytes:
    """Of version 1.0, always as long; NumPy's own grows with the shape in some versions."""
    text = repr(dict(descr='<f4', fortran_order=False, shape=shape)).ljust(_HEADER - 11) + '\n'
    return np.lib.format.magic(1, 0) + struct.pack('<H', len(text)) + text.encode()
