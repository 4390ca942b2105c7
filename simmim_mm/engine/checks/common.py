"""What the checks of labels share."""

import os.path as osp
from collections.abc import Sequence

from simmim_mm.datasets.errors import DataError


def join(root: str | None, path: str | None) -> str:
    """``path`` below ``root``, where either may be missing, as mmengine's data sets join them."""
    return osp.join(root or '', path or '')


def folder_of(dataset: dict, key: str, place: str) -> str:
    """The folder that a data set's ``data_prefix[key]`` names.

    Raises:
        DataError: If it is not there.
    """
    root = dataset.get('data_root')
    folder = join(root, (dataset.get('data_prefix') or {}).get(key))
    if not osp.isdir(folder):
        raise DataError(
            f'{place}: there is no folder {folder or "."}; set data_root ({root!r}) and '
            f'data_prefix.{key}'
        )
    return folder


def some(values: Sequence, limit: int = 5) -> str:
    """The first few, and how many there are if there are more."""
    shown = ', '.join(map(str, values[:limit]))
    return shown if len(values) <= limit else f'{shown}, ... ({len(values)} in all)'
