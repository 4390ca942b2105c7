"""Checks of labelled data before a training: classes, counts, and values of label maps."""

import os
from collections.abc import Iterator
from typing import Any, Optional

import numpy as np
from mmengine import fileio
from mmengine.registry import DATASETS

from .errors import DataError

_MAX_LABEL_MAPS = 100


def build_dataset(cfg: dict, name: str) -> Any:
    """Build a dataset of mmpretrain, mmdet, mmseg or ours, and say which one it is that fails.

    Args:
        cfg: Its config.
        name: Where it stands, such as ``'train_dataloader.dataset'``.

    Raises:
        DataError: If its files cannot be read.
    """
    try:
        return DATASETS.build(cfg)
    except (OSError, DataError):  # say what is wrong
        raise
    except Exception as error:
        if isinstance(error, KeyError) and 'registry' in str(error):
            raise  # an unknown type
        try:  # a dataset without samples fails when its list is packed; check_labels says why
            return DATASETS.build(_unpacked(cfg))
        except Exception:
            files = ', '.join(_annotation_files(cfg)) or cfg.get('data_root', '')
            raise DataError(
                f'{name}: {files} cannot be read: {" ".join(str(error).split())} '
                f'({type(error).__name__})'
            ) from error


def check_labels(
    dataset: Any, name: str, reference: Optional[Any] = None, model: Optional[dict] = None
) -> None:
    """See that a labelled dataset holds what its config says.

    Datasets of mmpretrain, mmdet and mmseg, also inside wrappers. Data without classes (images for
    pretraining, say) pass.

    Args:
        dataset: The dataset.
        name: Where it stands in the config, such as ``'val_dataloader.dataset'``.
        reference: The training dataset, whose classes this one must have.
        model: Config of the model; every ``num_classes`` in it must be the number of classes.

    Raises:
        DataError: If there is no sample, a class folder has no image, the classes differ from the
            reference's or from ``num_classes``, or a label map has values outside the classes (up
            to 100 maps are read, at equal distances).
    """
    for part in _parts(dataset):
        _check_not_empty(part, name)
        _check_folders(part, name)
    classes = _classes(dataset)
    if not classes:
        return
    expected = _classes(reference)
    if expected and classes != expected:
        raise DataError(f'{name}: {_difference(classes, expected)}')
    for place, number in _num_classes(model or {}, 'model'):
        if number != len(classes):
            raise DataError(
                f'{place}.num_classes is {number}, but {name} has {len(classes)} classes '
                f'({_names(classes)}): set it to {len(classes)}, or metainfo.classes of the '
                'datasets to those that are meant'
            )
    for part in _parts(dataset):
        _check_label_maps(part, name)


def _unpacked(cfg: Any) -> Any:
    """The config, with every dataset in it keeping its list as it is."""
    if isinstance(cfg, (list, tuple)):
        return [_unpacked(value) for value in cfg]
    if not isinstance(cfg, dict):
        return cfg
    cfg = {k: _unpacked(v) if k in ('dataset', 'datasets') else v for k, v in cfg.items()}
    return cfg if 'dataset' in cfg or 'datasets' in cfg else dict(cfg, serialize_data=False)


def _annotation_files(cfg: Any) -> Iterator[str]:
    for part in cfg if isinstance(cfg, (list, tuple)) else [cfg]:
        if part.get('ann_file'):
            yield os.path.join(part.get('data_root') or '', part['ann_file'])
        yield from _annotation_files(part.get('datasets') or part.get('dataset') or [])


def _parts(dataset: Any) -> Iterator[Any]:
    """The datasets inside mmengine's wrappers."""
    inner = getattr(dataset, 'datasets', None) or getattr(dataset, 'dataset', None)
    if inner is None:
        yield dataset
        return
    for part in inner if isinstance(inner, (list, tuple)) else [inner]:
        yield from _parts(part)


def _classes(dataset: Any) -> tuple[str, ...]:
    return tuple((getattr(dataset, 'metainfo', None) or {}).get('classes') or ())


def _check_not_empty(dataset: Any, name: str) -> None:
    if len(dataset):
        return
    source = getattr(dataset, 'ann_file', '') or getattr(dataset, 'data_prefix', '')
    if not str(source).endswith('.json'):
        raise DataError(f'{name}: no sample in {source}: check data_root and the paths below it')
    coco = fileio.load(source)
    found = [category['name'] for category in coco.get('categories', [])]
    raise DataError(
        f'{name}: no image of {source} has a box of one of the classes {_names(_classes(dataset))}; '
        f'it has {len(coco.get("images", []))} images, {len(coco.get("annotations", []))} boxes and '
        f'the categories {_names(found)}: set metainfo.classes to the names in the file'
    )


def _check_folders(dataset: Any, name: str) -> None:
    folders = getattr(dataset, 'folder_to_idx', None)  # of mmpretrain's CustomDataset
    if not folders or not getattr(dataset, 'with_label', True):
        return
    empty = [folder for folder in folders if not _has_image(dataset, folder)]
    if empty:
        raise DataError(
            f'{name}: no image in the class {"folder" if len(empty) == 1 else "folders"} '
            f'{_names(empty)} of {dataset.img_prefix}; looked for '
            f'{" ".join(sorted(dataset.extensions))}. Fill or remove it'
        )


def _has_image(dataset: Any, folder: str) -> bool:
    # asked of the storage and not of the samples: of a million of them that takes seconds
    backend = fileio.get_file_backend(dataset.img_prefix, enable_singleton=True)
    path = backend.join_path(dataset.img_prefix, folder)
    files = backend.list_dir_or_file(path, list_dir=False, recursive=True)
    return any(dataset.is_valid_file(file) for file in files)


def _check_label_maps(dataset: Any, name: str) -> None:
    """Label maps of mmseg, read as the dataset's own pipeline reads them."""
    steps = getattr(getattr(dataset, 'pipeline', None), 'transforms', ())
    load = next((step for step in steps if type(step).__name__ == 'LoadAnnotations'), None)
    if load is None or not hasattr(dataset, 'reduce_zero_label'):  # mmseg's datasets have it
        return
    number, ignored = len(_classes(dataset)), dataset.ignore_index
    for i in np.unique(np.linspace(0, len(dataset) - 1, _MAX_LABEL_MAPS).astype(int)).tolist():
        info = dataset.get_data_info(i)
        values = np.unique(load(dict(info))['gt_seg_map'])
        wrong = [int(v) for v in values if v >= number and v != ignored]
        if wrong:
            raise DataError(
                f'{name}: {info["seg_map_path"]} has the values {_names(wrong)}, but there are '
                f'{number} classes, 0 to {number - 1}, and {ignored} for pixels to leave out: '
                'correct the file or metainfo.classes'
            )


def _num_classes(cfg: Any, place: str) -> Iterator[tuple[str, int]]:
    if isinstance(cfg, dict):
        if isinstance(cfg.get('num_classes'), int):
            yield place, cfg['num_classes']
        for key, value in cfg.items():
            yield from _num_classes(value, f'{place}.{key}')
    elif isinstance(cfg, (list, tuple)):
        for i, value in enumerate(cfg):
            yield from _num_classes(value, f'{place}.{i}')


def _difference(classes: tuple, expected: tuple) -> str:
    missing = [c for c in expected if c not in classes]
    extra = [c for c in classes if c not in expected]
    if not missing and not extra:
        return (
            f'its classes are those of the training data in another order ({_names(classes)} '
            f'instead of {_names(expected)}), so that labels would mean other things'
        )
    return (
        'its classes are not those of the training data: '
        f'lacking are {_names(missing)}, in excess are {_names(extra)}'
    )


def _names(names: Any, most: int = 8) -> str:
    shown = ', '.join(repr(name) for name in list(names)[:most])
    return shown + (f', and {len(names) - most} more' if len(names) > most else '') or 'none'
