"""Features of many images in a file: for search, clustering or a model on top."""

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from simmim_mm.checkpoint.disk import DiskFull, require_space
from simmim_mm.checkpoint.file_backend import remove_stale_files, write_lines, written_whole
from simmim_mm.datasets.errors import DataError, first_few
from simmim_mm.evaluation.features import FeatureExtractor
from simmim_mm.evaluation.kept_features import KeptFeatures

FORMATS = ('.npy', '.csv', '.parquet')
_BLOCK = 1 << 22  # numbers that are turned into rows of a table at a time
_SAMPLE = 1000  # numbers that tell how long others are as text


@dataclass
class Embedding:
    """Features of images, and where they are from.

    Attributes:
        paths: The images that could be read.
        features: ``(N, C)`` float32; of patches ``(N, h, w, C)``, h rows of w positions.
        unreadable: Path to reason, of those that could not.
        done_before: Number of images that an interrupted call had finished.
    """

    paths: list[str]
    features: Tensor
    unreadable: dict[str, str]
    done_before: int = 0

    def save(self, out: str | Path) -> list[Path]:
        """Write a file of the kind that its ending says; returns all that were written.

        - ``.npy``: the array; the paths beside it in ``.txt``, one a line.
        - ``.csv``: a row with the path and the numbers; of patches a row for each, with its row and
          column.
        - ``.parquet`` (needs pyarrow): columns ``path`` and ``feature``, and of patches as above.

        Images that could not be read are listed beside it in ``.unreadable.txt``.
        """
        out = Path(out)
        check_format(out)
        # The features come last: where they are, all of it is.
        written = self._write_lists(out)
        array = self.features.numpy()
        if out.suffix == '.npy':
            with written_whole(out) as file:
                np.save(file, array)
        else:
            self._write_table(out, array)
        return [out, *written]

    def _write_lists(self, out: Path) -> list[Path]:
        """What lies beside the features."""
        remove_stale_files(out.parent, out.stem)
        written = []
        if out.suffix == '.npy':
            written.append(out.with_suffix('.txt'))
            write_lines(self.paths, written[-1])
        if self.unreadable:
            written.append(out.with_suffix('.unreadable.txt'))
            lines = (f'{path}: {reason}' for path, reason in self.unreadable.items())
            write_lines(lines, written[-1])
        return written

    def _write_table(self, out: Path, array: np.ndarray) -> None:
        """A .csv or .parquet, of some images at a time, so that memory is bounded."""
        columns = ['path', 'row', 'column'] if array.ndim == 4 else ['path']
        places = list(np.ndindex(*array.shape[1:-1]))
        numbers = array.shape[-1]
        step = max(1, _BLOCK // max(1, numbers * len(places)))
        blocks = (
            (
                ((path, *place) for path in self.paths[i : i + step] for place in places),
                array[i : i + step].reshape(-1, numbers),
            )
            for i in range(0, len(self.paths), step)
        )
        if out.suffix == '.csv':
            text = dict(newline='', encoding='utf-8', errors='surrogateescape')
            with written_whole(out, 'w', **text) as file:
                rows = csv.writer(file)
                rows.writerow([*columns, *(f'f{i}' for i in range(numbers))])
                for where, block in blocks:
                    rows.writerows([*w, *row.tolist()] for w, row in zip(where, block))
            return
        arrow, parquet = import_module('pyarrow'), import_module('pyarrow.parquet')
        kinds = [arrow.string(), *[arrow.int64()] * (len(columns) - 1)]
        schema = arrow.schema([*zip(columns, kinds), ('feature', arrow.list_(arrow.float32()))])
        with written_whole(out) as file, parquet.ParquetWriter(file, schema) as writer:
            for where, block in blocks:
                offsets = np.arange(0, block.size + 1, numbers, dtype=np.int32)
                feature = arrow.ListArray.from_arrays(offsets, block.ravel())
                paths, *rest = map(list, zip(*where))
                paths = [os.fsencode(path).decode(errors='replace') for path in paths]
                writer.write_table(arrow.table([paths, *rest, feature], schema=schema))


def check_format(out: Path) -> None:
    """Refuse a file that could not be written, before the work is done."""
    if out.suffix not in FORMATS:
        raise ValueError(f'{out}: the file is to end in {", ".join(FORMATS)}')
    if out.suffix == '.parquet':
        try:
            import_module('pyarrow.parquet')
        except ImportError:
            raise ValueError(f'{out}: .parquet needs pyarrow: pip install pyarrow') from None


def embed_images(
    extract: FeatureExtractor,
    paths: Sequence[str],
    patches: bool = False,
    progress: Callable[[int], None] | None = None,
    out: str | Path | None = None,
) -> Embedding:
    """Features of image files; those that cannot be read are left out and named.

    Args:
        extract: The backbone with the loading of its pretraining.
        paths: The files.
        patches: Features of all positions instead of their mean.
        progress: Called after each image with the number of all.
        out: File to write them to, as :meth:`Embedding.save` does. They go to the disk batch by
            batch, and what is returned stays there; a call that was ended is continued.

    Raises:
        DataError: If none can be read, or another process is writing to ``out``.
    """
    if out is not None:
        return _embed_to_file(extract, paths, patches, progress, Path(out))
    found: list[Tensor] = []
    unreadable: dict[str, str] = {}
    for _, features, failed in _batches(extract, paths, patches, progress):
        unreadable.update(failed)
        found += [features] * bool(len(features))
    sound = _readable(paths, unreadable)
    return Embedding(sound, torch.cat(found), unreadable)


def _embed_to_file(
    extract: FeatureExtractor,
    paths: Sequence[str],
    patches: bool,
    progress: Callable[[int], None] | None,
    out: Path,
) -> Embedding:
    check_format(out)
    with KeptFeatures(out, paths, [patches, extract.identity()]) as kept:
        done_before = kept.done
        for done, features, failed in _batches(extract, paths, patches, progress, done_before):
            if kept.done == done_before and len(features):
                try:
                    _require_room(out, features, len(paths) - done_before, len(paths))
                except DiskFull:
                    if not done_before:
                        kept.discard()
                    raise
            kept.add(done, features, failed)
        if not kept.rows:
            kept.discard()
        sound, array = _readable(paths, kept.unreadable), kept.array()
        found = Embedding(sound, torch.from_numpy(array), kept.unreadable, done_before)
        found._write_lists(out)
        if out.suffix == '.npy':
            kept.become_npy()
        else:
            found._write_table(out, array)
            kept.discard()
    return found


def _require_room(out: Path, features: Tensor, left: int, count: int) -> None:
    """Refuse a disk without room for the features of the images left, and the table of all.

    Raises:
        DiskFull: With what they take, by the first ``features``.
    """
    numbers = features[0].numel()
    sample = features.flatten()[:_SAMPLE].tolist()
    sizes = {'.csv': sum(len(f'{x},') for x in sample) / len(sample), '.parquet': 4}  # bytes
    needed = numbers * (4 * left + sizes.get(out.suffix, 0) * count)
    require_space(out.parent, int(needed), f'features of {count} images')


def _batches(
    extract: FeatureExtractor,
    paths: Sequence[str],
    patches: bool,
    progress: Callable[[int], None] | None,
    done: int = 0,
) -> Iterator[tuple[int, Tensor, dict[str, str]]]:
    """Number of images that are done, features, and what failed."""

    def tick(number: int) -> None:
        if progress is not None:
            for _ in range(number):
                progress(len(paths))

    tick(done)
    for features, failed in extract.batches(paths, patches, done):
        before, done = done, min(done + extract.batch_size, len(paths))
        yield done, features, failed
        tick(done - before)


def _readable(paths: Sequence[str], unreadable: dict[str, str]) -> list[str]:
    sound = [path for path in paths if path not in unreadable]
    if not sound:
        reasons = [f'{path}: {reason}' for path, reason in unreadable.items()]
        raise DataError(f'no image can be read: {first_few(reasons)}')
    return sound
