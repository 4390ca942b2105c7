"""Features of many images in a file: for search, clustering or a model on top."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from simmim_mm.checkpoint.file_backend import remove_stale_files, write_lines, written_whole
from simmim_mm.datasets.errors import DataError, first_few
from simmim_mm.evaluation.features import FeatureExtractor

FORMATS = ('.npy', '.csv', '.parquet')


@dataclass
class Embedding:
    """Features of images, and where they are from.

    Attributes:
        paths: The images that could be read.
        features: ``(N, C)`` float32; of patches ``(N, h, w, C)``, h rows of w positions.
        unreadable: Path to reason, of those that could not.
    """

    paths: list[str]
    features: Tensor
    unreadable: dict[str, str]

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
        remove_stale_files(out.parent, out.stem)
        written = [out]
        # The features come last: where they are, all of it is.
        if out.suffix == '.npy':
            written.append(out.with_suffix('.txt'))
            write_lines(self.paths, written[-1])
        if self.unreadable:
            written.append(out.with_suffix('.unreadable.txt'))
            lines = (f'{path}: {reason}' for path, reason in self.unreadable.items())
            write_lines(lines, written[-1])
        array = self.features.numpy()
        if out.suffix == '.npy':
            with written_whole(out) as file:
                np.save(file, array)
        elif out.suffix == '.csv':
            with written_whole(out, 'w', newline='', encoding='utf-8') as file:
                rows = csv.writer(file)
                rows.writerow([*self._columns, *(f'f{i}' for i in range(array.shape[-1]))])
                for where, row in zip(self._places(), array.reshape(-1, array.shape[-1])):
                    rows.writerow([*where, *row.tolist()])
        else:
            pyarrow, parquet = import_module('pyarrow'), import_module('pyarrow.parquet')
            columns: dict[str, Any] = dict(zip(self._columns, zip(*self._places())))
            columns['feature'] = list(array.reshape(-1, array.shape[-1]))
            with written_whole(out) as file:
                parquet.write_table(pyarrow.table(columns), file)
        return written

    @property
    def _columns(self) -> list[str]:
        return ['path', 'row', 'column'] if self.features.ndim == 4 else ['path']

    def _places(self) -> list[tuple]:
        """What stands before each feature, in the order of the rows."""
        grid = np.ndindex(*self.features.shape[1:-1])
        places = list(grid)
        return [(path, *place) for path in self.paths for place in places]


def check_format(out: Path) -> None:
    """Refuse a file that could not be written, before the work is done."""
    if out.suffix not in FORMATS:
        raise ValueError(f'{out}: the file is to end in {", ".join(FORMATS)}')
    if out.suffix == '.parquet':
        try:
            import_module('pyarrow.parquet')
        except ImportError:
            raise ValueError(f'{out}: .parquet needs pyarrow: pip install pyarrow') from None


@torch.no_grad()
def embed_images(
    extract: FeatureExtractor,
    paths: Sequence[str],
    patches: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Embedding:
    """Features of image files; those that cannot be read are left out and named.

    Args:
        extract: The backbone with the loading of its pretraining.
        paths: The files.
        patches: Features of all positions instead of their mean.
        progress: Called after each image with the number of all.

    Raises:
        DataError: If none can be read.
    """
    found: list[Tensor] = []
    unreadable: dict[str, str] = {}
    for features, failed in extract.batches(paths, patches):
        found.append(features)
        unreadable.update(failed)
        if progress is not None:
            for _ in range(len(features) + len(failed)):
                progress(len(paths))
    if len(unreadable) == len(paths):
        reasons = [f'{path}: {reason}' for path, reason in unreadable.items()]
        raise DataError(f'no image can be read: {first_few(reasons)}')
    sound = [path for path in paths if path not in unreadable]
    return Embedding(sound, torch.cat([f for f in found if len(f)]), unreadable)
