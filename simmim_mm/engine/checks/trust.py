"""Annotations of unknown origin: what they must not do unless the config trusts them."""

from itertools import chain
from typing import Any

from simmim_mm.datasets.errors import DataError, first_few
from simmim_mm.datasets.image_folder import is_inside

TRUST = 'trust_annotations'  # a setting at the top of the config
_RUN_CODE = ('.pkl', '.pickle', '.yml', '.yaml')  # as mmengine reads them
_FILES = ('ann_file', 'proposal_file')
_PATHS = ('img_path', 'seg_map_path')


def check_annotation_files(dataset: dict) -> None:
    """Refuse files that mmengine runs code from as it reads them.

    Args:
        dataset: Config of a single data set.

    Raises:
        DataError: If there is one.
    """
    for key in _FILES:
        path = dataset.get(key)
        if isinstance(path, str) and path.lower().endswith(_RUN_CODE):
            raise DataError(
                f'{key}={path!r} may run any code as it is read: write it as .json, or set '
                f'{TRUST}=True at the top of the config if you trust where it comes from'
            )


def check_annotated_paths(dataset: Any) -> None:
    """Look whether the files that an annotation names lie below ``data_root`` or the prefix.

    Links in the folder are followed: they are of its owner.

    Args:
        dataset: Built, of mmpretrain, mmdet or mmseg. Without an annotation, or without a folder
            that its names are relative to, it passes.

    Raises:
        DataError: If one does not.
    """
    if not getattr(dataset, 'ann_file', '') or not hasattr(dataset, 'get_data_info'):
        return
    prefix = getattr(dataset, 'data_prefix', None) or {}
    folders = [
        getattr(dataset, 'data_root', None),
        *(prefix.values() if isinstance(prefix, dict) else ()),
    ]
    roots = [folder for folder in folders if isinstance(folder, str) and folder]
    if not roots:
        return
    infos = (dataset.get_data_info(i) for i in range(len(dataset)))
    paths = chain.from_iterable((info.get(key) for key in _PATHS) for info in infos)
    outside = [
        path
        for path in paths
        if isinstance(path, str) and not any(is_inside(path, root) for root in roots)
    ]
    if outside:
        raise DataError(
            f'{dataset.ann_file} names {len(outside)} files outside of {roots[0]}: '
            f'{first_few(map(repr, outside), 3)}; {TRUST}=True at the top of the config allows it'
        )
