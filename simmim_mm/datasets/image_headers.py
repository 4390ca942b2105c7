"""Sizes of image files from their headers, thousands of files a second."""

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import IO, NamedTuple

from PIL import ExifTags, Image

from simmim_mm._text import one_line
from simmim_mm.datasets.decode import decode, open_pillow, quiet_decoders
from simmim_mm.datasets.limits import MAX_PIXELS

_THREADS, _CHUNK = 16, 256  # threads wait for the disk together
_ENDS = dict(JPEG=b'\xff\xd9', PNG=b'IEND')


class Header(NamedTuple):
    """Of an image file.

    Attributes:
        width: In pixels, as stored.
        height: In pixels, as stored.
        turned: Whether EXIF turns it by a quarter.
        fault: Why the file cannot be read; empty if it can.
    """

    width: int = 0
    height: int = 0
    turned: bool = False
    fault: str = ''


def read_headers(paths: Sequence[str]) -> list[Header]:
    """Headers of local image files, in the order of ``paths``.

    A file that seems to lack its end, or whose format Pillow does not know, is decoded.
    """
    headers: list[Header] = []
    with quiet_decoders():
        while len(headers) < len(paths):
            start, cpu_start = time.perf_counter(), time.thread_time()
            headers += map(_read_header, paths[len(headers) : len(headers) + _CHUNK])
            if time.thread_time() - cpu_start < 0.5 * (time.perf_counter() - start):
                break  # it waits for the disk
        # Where files are at hand, threads take up to three times as long: of Python one runs.
        rest = paths[len(headers) :]
        chunks = [rest[i : i + _CHUNK] for i in range(0, len(rest), _CHUNK)]
        with ThreadPoolExecutor(_THREADS) as pool:
            found = pool.map(lambda chunk: [*map(_read_header, chunk)], chunks)
            return headers + list(chain.from_iterable(found))


def read_header(path: str) -> Header:
    """Header of a local image file; what is wrong with the file is returned, not raised."""
    with quiet_decoders():
        return _read_header(path)


def _read_header(path: str) -> Header:
    try:
        with open(path, 'rb') as file:
            return _parse(file)
    except Exception as error:  # decoders raise everything
        return Header(fault=getattr(error, 'strerror', None) or one_line(error))


def _parse(file: IO[bytes]) -> Header:
    try:
        image = open_pillow(file)
    except Exception:
        file.seek(0)
        height, width = decode(file.read(), max_pixels=MAX_PIXELS).array.shape[:2]
        return Header(width, height)
    turned = _orientation(image) >= 5  # from 5 on, width and height change places
    header = Header(image.width, image.height, turned)
    if end := _ENDS.get(image.format or ''):
        file.seek(-min(64, file.seek(0, os.SEEK_END)), os.SEEK_END)
        if end not in file.read():
            file.seek(0)
            decode(file.read(), max_pixels=MAX_PIXELS)
    return header


def _orientation(image: Image.Image) -> int:
    if 'exif' not in image.info:
        return 1
    exif = Image.Exif()
    try:
        exif.load(image.info['exif'])
        value = exif.get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged EXIF data say nothing about the pixels
        return 1
    return value if isinstance(value, int) else 1
