"""Read a list of image files."""

import os
from collections.abc import Sequence

from mmengine import fileio

from simmim_mm.datasets.errors import DataError

_MAX_CHECKED = 10_000


def read_list(ann_file: str, folder: str, max_missing_share: float) -> list[str]:
    """Paths in a text file, one a line; blank lines and lines that begin with ``#`` are ignored.

    Up to 10 000 of the files, evenly spread, are looked for now, so that a wrong folder shows
    before training; the rest when they are loaded.

    Args:
        ann_file: The list; a remote address such as ``s3://...`` is fine.
        folder: What paths in the list are relative to; absolute paths and addresses stay.
        max_missing_share: Largest tolerated share of missing files.

    Raises:
        DataError: If the list is missing or empty, or too many of its files are missing.
    """
    try:
        text = fileio.get(ann_file).decode('utf-8-sig')
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f'ann_file {ann_file!r} cannot be read ({error}); '
            f'give a text file with the path of one image a line'
        ) from error
    lines = [line.strip() for line in text.splitlines()]
    names = [line for line in lines if line and not line.startswith('#')]
    if not names:
        raise DataError(f'ann_file {ann_file!r} names no image; write the path of one a line')
    paths = [n if '://' in n else fileio.join_path(folder, n) if folder else n for n in names]
    _check_exist(ann_file, folder, paths, max_missing_share)
    return paths


def _check_exist(ann_file: str, folder: str, paths: Sequence[str], max_share: float) -> None:
    checked = paths[:: -(-len(paths) // _MAX_CHECKED)]
    missing = [p for p in checked if '://' not in p and not os.path.exists(p)]
    if len(missing) > max_share * len(checked):
        raise DataError(
            f'{len(missing)} of {len(checked)} files looked for in ann_file {ann_file!r} do not '
            f'exist, such as {", ".join(map(repr, missing[:3]))}. Its lines hold one path each and '
            f'no label, relative to data_root/data_prefix (now {folder!r}) or absolute'
        )
