"""All files of a folder."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from simmim_mm._renamed import renamed_arguments
from simmim_mm.curation.duplicates import group_duplicates
from simmim_mm.curation.files import map_files
from simmim_mm.curation.inspection import Inspection, inspect_file
from simmim_mm.curation.journal import Journal
from simmim_mm.datasets.image_folder import list_images
from simmim_mm.datasets.shards import relative_to
from simmim_mm.datasets.values import Nodata


class Scan(NamedTuple):
    """What is known of a folder, an entry for each file.

    The best of a group of duplicates is kept: most pixels, then channels, then bytes.
    """

    root: str  # the folder
    paths: Sequence[str]  # relative to root, sorted
    shapes: np.ndarray  # (n, 3) int32: height, width, channels; 0 where a file cannot be decoded
    faults: dict[int, tuple[str, str]]  # fault and detail by index, for the files that have one
    groups: np.ndarray  # (n,) int64, index of the first duplicate of each image; -1 with a fault
    kept: np.ndarray  # (n,) bool: no fault, and the best of its group
    exact: np.ndarray  # (n,) bool: has the bytes or the pixels of the kept one of its group

    def status(self, index: int) -> str:
        """``'kept'``, a fault, ``'duplicate'`` or ``'near_duplicate'``."""
        if index in self.faults:
            return self.faults[index][0]
        if self.kept[index]:
            return 'kept'
        return 'duplicate' if self.exact[index] else 'near_duplicate'

    def counts(self) -> Counter:
        """Number of files of each status."""
        return Counter(self.status(i) for i in range(len(self.paths)))


@renamed_arguments(bands='channels')
def scan_folder(
    root: str,
    min_size: int = 1,
    channels: Sequence[int] = (),
    distance: int = 4,
    mirrored: bool = False,
    workers: int = 0,
    tick: Callable[[int], None] | None = None,
    nodata: Nodata = None,
    journal: str | Path | None = None,
) -> Scan:
    """Inspect every image file below a folder, and group the duplicates.

    Args:
        root: The folder, searched as :class:`ImageDataset` does.
        min_size, channels: See :func:`inspect_file`.
        distance: See :func:`group_duplicates`.
        mirrored: Take mirror images for near-duplicates.
        workers: Processes; 0 works in this one.
        tick: Called with the number of all files after each of them.
        nodata: See :func:`inspect_file`.
        journal: File that keeps what is found of each file. A call that finds it there inspects
            only files that are not in it, or have changed since.

    Raises:
        DataError: If the folder is missing or holds no image.
    """
    files = list_images(root)
    count = len(files)
    content, pixels = np.zeros(count, 'V16'), np.zeros(count, 'V16')
    looks = np.zeros((2, count), np.uint64)
    shapes, sizes = np.zeros((count, 3), np.int32), np.zeros(count, np.int64)
    faults: dict[int, tuple[str, str]] = {}
    inspect = partial(inspect_file, min_size=min_size, channels=channels, nodata=nodata)

    def note(i: int, seen: Inspection) -> None:
        shapes[i], sizes[i] = (seen.height, seen.width, seen.channels), seen.size
        if seen.fault:
            faults[i] = (seen.fault, seen.detail)
        else:
            content[i], pixels[i], looks[:, i] = seen.content, seen.pixels, seen.looks
        if tick is not None:
            tick(count)

    done = np.zeros(count, bool)
    with ExitStack() as stack:
        keep = None
        if journal is not None:
            before = Journal(journal, files, [min_size, list(channels), nodata])
            for i, seen in before.known():
                if not done[i]:
                    done[i] = True
                    note(i, seen)
            keep = stack.enter_context(before.writing(anew=not done.any()))
        todo = np.flatnonzero(~done).tolist()
        for i, seen in zip(todo, map_files(inspect, [files[i] for i in todo], workers)):
            note(i, seen)
            if keep is not None:
                keep.add(i, seen)

    sound = np.setdiff1d(np.arange(count), np.fromiter(faults, int, len(faults)))
    flipped = looks[1, sound] if mirrored else None
    found = group_duplicates(content[sound], pixels[sound], looks[0, sound], flipped, distance)
    groups = np.full(count, -1, np.int64)
    groups[sound] = sound[found]

    # the best of each group first
    area = shapes[sound, 0].astype(np.int64) * shapes[sound, 1]
    order = sound[np.lexsort((sound, -sizes[sound], -shapes[sound, 2], -area, groups[sound]))]
    is_best = np.diff(groups[order], prepend=-1) != 0
    best = order[is_best][np.cumsum(is_best) - 1]
    kept, exact = np.zeros(count, bool), np.zeros(count, bool)
    kept[order] = is_best
    exact[order] = (content[order] == content[best]) | (pixels[order] == pixels[best])
    paths = [relative_to(file, root) for file in files]
    return Scan(root, paths, shapes, faults, groups, kept, exact)
