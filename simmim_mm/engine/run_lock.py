"""One run in a work dir at a time."""

import fcntl
import json
import logging
import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakSet

LOCK_FILE = '.run.lock'
BEAT = 5.0  # seconds from one sign of life to the next
_LONG_AGO = 3600.0  # seconds by which no two clocks differ
_logger = logging.getLogger(__name__)


class WorkDirInUse(ValueError):
    """Another run writes to the work dir; the message names its host and process."""


class RunLock:
    """Holds a folder, so that a second run in it is refused: a context manager.

    The kernel's lock (``flock``, which NFS passes on to its server) decides wherever it works, and
    ends with its process, however that ends. Not every cluster's file system shares locks between
    machines, and some have none; so the holder also writes host, process id and start time into
    the file, and touches it every five seconds. A file that a killed run left behind is taken over:

    - of this host: at once, if the kernel's lock is free, or without such locks if the process is
      gone or is another one of the same number;
    - of another host: if nobody touches it for four beats, which are waited for.

    Processes forked from the holder do not hold the folder; those that are given its ``fileno()``
    do. The file is removed at the end.

    Args:
        folder: Made if needed, and removed again at the end if it is empty then.
        name: Of the file.

    Raises:
        WorkDirInUse: From :meth:`acquire`, if the folder is held.
        NotADirectoryError: If it is a file.
        OSError: If the file cannot be made, as on a read-only file system.
    """

    def __init__(self, folder: str | Path, name: str = LOCK_FILE) -> None:
        self.path = Path(folder) / name
        self._file: int | None = None
        self._ended = threading.Event()
        self._made_folder = False

    def acquire(self) -> 'RunLock':
        self._made_folder = not self.path.parent.is_dir()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(
                f'{self.path.parent} is a file, not a work dir: choose another'
            ) from None
        while self._file is None:
            self._file = self._open()
        _HELD.add(self)
        record = json.dumps(dict(_this_process(), host=socket.gethostname()))
        os.truncate(self._file, 0)
        os.pwrite(self._file, record.encode(), 0)
        self._beats = threading.Thread(target=self._beat, args=(self._file,), daemon=True)
        self._beats.start()
        return self

    def release(self) -> None:
        """Let go of the folder; nothing happens a second time."""
        if self._file is None:
            return
        self._ended.set()
        self._beats.join()
        with suppress(OSError):  # the folder may be gone, or the disk read-only by now
            if _same_file(self._file, self.path):
                self.path.unlink()
            if self._made_folder:
                self.path.parent.rmdir()
        self.forget()

    def forget(self) -> None:
        """Close the file only: in a process that was forked."""
        self._ended.set()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def fileno(self) -> int:
        """Descriptor of the file; a process that inherits it holds the folder too."""
        assert self._file is not None, 'not acquired'
        return self._file

    def __enter__(self) -> 'RunLock':
        return self.acquire()

    def __exit__(self, *_: Any) -> None:
        self.release()

    def _open(self) -> int | None:
        """The locked file; None if it was removed meanwhile and is to be opened anew."""
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                locked = True
            except BlockingIOError:
                raise WorkDirInUse(self._refusal(_read(file))) from None
            except OSError:  # a file system without locks
                locked = False
            if not _same_file(file, self.path):
                os.close(file)
                return None
            record = _read(file)
            if record and self._alive(record, locked):
                raise WorkDirInUse(self._refusal(record))
        except BaseException:
            os.close(file)
            raise
        return file

    def _alive(self, record: dict, locked: bool) -> bool:
        if record.get('host') != socket.gethostname():
            return self._is_touched(record)
        started = record.get('started')
        return not locked and started is not None and _process_start(record['pid']) == started

    def _is_touched(self, record: dict) -> bool:
        """Whether a process of another host, whose clock may be another, touches the file."""
        before = _modified(self.path)
        if time.time() - before / 1e9 > _LONG_AGO:
            return False
        _logger.warning(
            f'{self.path} was left by {_name(record)}: waiting {4 * BEAT:.0f} s for a sign of life.'
        )
        for _ in range(4):
            time.sleep(BEAT)
            if _modified(self.path) != before:
                return True
        return False

    def _beat(self, file: int) -> None:
        while not self._ended.wait(BEAT):
            with suppress(OSError):
                os.utime(file)

    def _refusal(self, record: dict) -> str:
        return (
            f'{self.path.parent} is in use by {_name(record)}, or one that it has started: wait '
            'for it, end it, or take another work dir. If it is gone for certain, delete '
            f'{self.path}'
        )


_HELD: WeakSet[RunLock] = WeakSet()


def _forget_all() -> None:
    for lock in _HELD:
        lock.forget()


# A data loader's worker outlives a killed run by seconds, in which the run can be resumed.
os.register_at_fork(after_in_child=_forget_all)


def _read(file: int) -> dict:
    try:
        record = json.loads(os.pread(file, 4096, 0))
    except ValueError:  # empty, or of a run that is just about to write it
        return {}
    return record if isinstance(record, dict) else {}


def _name(record: dict) -> str:
    return f'process {record.get("pid", "unknown")} on {record.get("host", "an unknown host")}'


def _modified(path: Path) -> int:
    # NFS asks its server for the time only when a file is opened.
    with suppress(FileNotFoundError), path.open('rb') as file:
        return os.fstat(file.fileno()).st_mtime_ns
    return 0


def _same_file(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _this_process() -> dict:
    return dict(pid=os.getpid(), started=_process_start(os.getpid()))


def _process_start(pid: int) -> str | None:
    """When a process of this machine started, in ticks since which boot; None if there is none."""
    try:
        stat = Path(f'/proc/{pid}/stat').read_text()
        boot = Path('/proc/sys/kernel/random/boot_id').read_text().strip()
    except OSError:
        return None
    return f'{boot} {stat.rpartition(")")[2].split()[19]}'
