"""Labeled images and segmentation maps, each opened once before a training."""

import hashlib
import json
import os
import os.path as osp
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import MMLogger
from torch.utils.data import DataLoader, Dataset

from simmim_mm.checkpoint import AtomicLocalBackend
from simmim_mm.datasets.errors import DataError, UnsuitableFile, first_few, reason_of
from simmim_mm.datasets.image_dataset import pipeline_steps
from simmim_mm.datasets.image_folder import spread
from simmim_mm.version import __version__

_CHUNK = 32  # files read by a worker at a time
_MANY = 2000  # files whose reading takes a while


def image_sizes(dataset: Any, most: int | None = None) -> dict[str, tuple[int, int]]:
    """Open the images of a labeled data set with the loader of its pipeline, in parallel.

    Args:
        dataset: A built data set of mmpretrain, mmdet or mmseg, without wrappers.
        most: Open this many, spread over the data set; None opens all.

    Returns:
        Height and width by path, of the image as it is loaded (so after its EXIF orientation).
        Empty if the pipeline does not begin with a loader of images; images on other storage than
        a local disk are left out.

    Raises:
        DataError: If images cannot be read; the message names them.
    """
    steps = pipeline_steps(dataset)
    if not steps:
        return {}
    infos = [dataset.get_data_info(i) for i in spread(len(dataset), most)]
    paths = [info['img_path'] for info in infos if isinstance(info.get('img_path'), str)]

    def size(path: str) -> tuple[int, int] | None:
        image = steps[0](dict(img_path=path)).get('img')
        return None if image is None else image.shape[:2]

    settings = json.dumps(vars(steps[0]), default=repr, sort_keys=True)
    found = read_once(paths, size, f'{type(steps[0]).__qualname__} {settings}', 'image')
    return {path: (seen[0], seen[1]) for path, seen in found.items() if seen}


def read_once(
    paths: Sequence[str], read: Callable[[str], Any], key: str, what: str
) -> dict[str, Any]:
    """Read files in parallel, and remember what was found of those that are sound.

    A file that has neither another size nor another time of modification than at an earlier call
    with the same ``key`` is not read again. What is known is kept in ``$XDG_CACHE_HOME/simmim_mm``
    (``~/.cache/simmim_mm``).

    Args:
        paths: Files; those that are not on a local disk (with ``://`` in their path) are left out.
        read: Gives what JSON can hold, or raises; called in worker processes.
        key: Changes with what ``read`` gives.
        what: What the files are, as an error says it.

    Returns:
        What ``read`` gave, by path.

    Raises:
        DataError: If files cannot be read; the message names them, with the reason.
    """
    local = list(dict.fromkeys(path for path in map(str, paths) if '://' not in path))
    if not local:
        return {}
    folder = osp.commonpath([osp.dirname(osp.abspath(path)) for path in local])
    digest = hashlib.sha256('\0'.join([__version__, key, folder]).encode(errors='replace'))
    cache = _cache_folder() / f'{what.replace(" ", "_")}_{digest.hexdigest()[:16]}.json'
    known = _load(cache)
    stamps = {path: _stamp(path) for path in local}
    new = [p for p in local if not stamps[p] or known.get(p, [None])[0] != stamps[p]]
    if len(new) >= _MANY:
        MMLogger.get_current_instance().info(
            f'Opening {len(new)} {what}s below {folder}, to find those that cannot be read; the '
            f'others are not opened again by the next run ({cache}).'
        )
    bad: dict[str, str] = {}
    sound: set[str] = set()  # reasons that are not of the files
    workers = min(len(os.sched_getaffinity(0)), len(new) // (2 * _CHUNK))
    if workers < 2:
        workers = 0
    files = DataLoader(_Files(new, read), _CHUNK, num_workers=workers, collate_fn=list)
    for path, found, reason, is_sound in (file for chunk in files for file in chunk):
        if reason:
            bad[path] = reason
            sound |= {reason} if is_sound else set()
        else:
            known[path] = [stamps[path], found]
    if len(new) > len(bad):
        _save(cache, known)
    if bad:
        alike: dict[str, list[str]] = {}
        for path, reason in bad.items():
            alike.setdefault(reason, []).append(path)
        files = first_few((f'{first_few(p, 3)} ({reason})' for reason, p in alike.items()), 3)
        if sound == alike.keys():
            path, reason = next(iter(bad.items()))
            raise DataError(
                f'{len(bad)} of {len(local)} {what}s are not used as they are, such as {path}: '
                f'it {reason}'
            )
        raise DataError(
            f'{len(bad)} of {len(local)} {what}s cannot be read: {files}; repair them, or take '
            'them out of the data'
        )
    return {path: known[path][1] for path in local}


class _Files(Dataset):
    """Path, what was read, why it could not be, and whether the file is sound for all that."""

    def __init__(self, paths: Sequence[str], read: Callable[[str], Any]):
        self.paths, self.read = paths, read

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[str, Any, str, bool]:
        path = self.paths[index]
        try:
            return path, self.read(path), '', True
        except Exception as error:  # decoders raise everything
            return path, None, reason_of(error, path), isinstance(error, UnsuitableFile)


def _stamp(path: str) -> list[int] | None:
    try:
        status = os.stat(path)
    except OSError:  # reading it says why
        return None
    return [status.st_size, status.st_mtime_ns]


def _cache_folder() -> Path:
    return Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser() / 'simmim_mm'


def _load(cache: Path) -> dict[str, Any]:
    try:
        known = json.loads(cache.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _save(cache: Path, known: dict[str, Any]) -> None:
    """Write it, or do without where the folder cannot be written to."""
    try:
        AtomicLocalBackend().put_text(json.dumps(known), cache)
    except OSError as error:
        MMLogger.get_current_instance().debug(f'{cache} is not written: {error}')
