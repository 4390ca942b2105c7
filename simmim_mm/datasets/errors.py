"""Errors about the user's data; each message names the value and says what to do."""

import os.path as osp
from collections.abc import Iterator
from contextlib import contextmanager

from simmim_mm._text import first_few as first_few
from simmim_mm._text import one_line


class DataError(ValueError):
    """The data cannot be used as configured."""


class UnreadableImage(DataError):
    """One file is not a usable image.

    Args:
        path: The file.
        reason: What is wrong with it, without the path.
    """

    # ``reason`` has a default so that a DataLoader worker can rebuild the error from its message.
    def __init__(self, path: str, reason: str = ''):
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f'{self.path}: {self.reason}' if self.reason else str(self.path)


class UnsuitableFile(DataError):
    """A sound file that the config does not suit; the message says what to do."""


class UnsupportedImage(ValueError):
    """A file that is not damaged, but cannot be read as configured; the message says what to do."""


class TooManyBadFiles(DataError):
    """More files are unreadable than ``max_bad_fraction`` allows."""


@contextmanager
def error_at(place: str) -> Iterator[None]:
    """Let the message of a :class:`DataError` begin with ``place``: a key of the config, a file."""
    try:
        yield
    except DataError as error:
        raise DataError(f'{place}: {error}') from error


def reason_of(error: Exception, path: str) -> str:
    """Why a file could not be read, in one line without its path; decoders raise everything."""
    if osp.isfile(path) and osp.getsize(path) == 0:
        return 'empty file'
    source = error.__cause__ or error
    most = 2000 if isinstance(error, UnsuitableFile) else 500  # settings to paste are kept whole
    text = getattr(error, 'reason', '') or getattr(source, 'strerror', '') or one_line(source, most)
    for name in (f"'{path}'", path):
        text = str(text).replace(name, '')
    text = text.strip(': ').partition('\n')[0][:most]
    return text or type(error).__name__
