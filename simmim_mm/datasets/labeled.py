"""Checks of images with classes, before a training."""

from collections.abc import Iterator
from typing import Any

from mmengine import fileio
from mmpretrain.datasets import BaseDataset, CustomDataset

from simmim_mm.datasets.errors import DataError


def check_classes(
    dataset: Any, name: str, train: Any | None = None, model: dict | None = None
) -> None:
    """See that data of mmpretrain, also inside wrappers, have the classes that are trained.

    mmpretrain numbers the class folders in their order: with one folder less in the validation, all
    later labels mean something else there, and nobody tells.

    Args:
        dataset: The dataset. Others than mmpretrain's pass.
        name: Where it stands in the config, such as ``'val_dataloader.dataset'``.
        train: The training data, whose classes this dataset must have.
        model: Config of the model; every ``num_classes`` in it must be the number of classes.

    Raises:
        DataError: If there is no sample, a class folder has no image, or the classes differ from
            the training's or from ``num_classes``.
    """
    parts = list(_parts(dataset))
    if not all(isinstance(part, BaseDataset) for part in parts):
        return
    for part in parts:
        if not len(part):
            raise DataError(f'{name}: no sample in {part.ann_file or part.img_prefix}')
        if isinstance(part, CustomDataset):
            _check_folders(part, name)
    classes, expected = _classes(dataset), _classes(train)
    if expected and classes != expected:
        raise DataError(f'{name}: {_difference(classes, expected)}')
    for place, number in _num_classes(model or {}, 'model'):
        if classes and number != len(classes):
            raise DataError(
                f'{place}.num_classes is {number}, but {name} has {len(classes)} classes '
                f'({_names(classes)}): set it to {len(classes)}'
            )


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


def _check_folders(dataset: CustomDataset, name: str) -> None:
    # The storage is asked, not the samples: of a million of them that would take long.
    folders = getattr(dataset, 'folder_to_idx', {})
    empty = [folder for folder in folders if not _has_image(dataset, folder)]
    if empty:
        raise DataError(
            f'{name}: no image in {len(empty)} of {len(folders)} class folders of '
            f'{dataset.img_prefix}: {_names(empty)}; looked for '
            f'{" ".join(sorted(dataset.extensions))}. Fill or remove them'
        )


def _has_image(dataset: CustomDataset, folder: str) -> bool:
    backend = fileio.get_file_backend(dataset.img_prefix, enable_singleton=True)
    path = backend.join_path(dataset.img_prefix, folder)
    files = backend.list_dir_or_file(path, list_dir=False, recursive=True)
    return any(dataset.is_valid_file(file) for file in files)


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
    if missing or extra:
        return (
            f'its classes are not those of the training data: missing {_names(missing)}, '
            f'unknown {_names(extra)}'
        )
    return (
        f'its classes are in another order than those of the training data: {_names(classes)} '
        f'instead of {_names(expected)}'
    )


def _names(names: Any, most: int = 8) -> str:
    shown = ', '.join(map(repr, names[:most])) or 'none'
    return shown + (f', and {len(names) - most} more' if len(names) > most else '')
