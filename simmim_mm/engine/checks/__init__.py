"""Look at the labels of detectors and segmenters before training.

mmdet leaves out what it does not know: objects of a category that the config does not list, images
without objects. mmseg trains on whatever values a label map has. Here these are errors.
"""

from collections.abc import Iterator

from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from simmim_mm.datasets.errors import DataError
from simmim_mm.engine.checks.coco import check_coco, check_evaluator
from simmim_mm.engine.checks.common import some
from simmim_mm.engine.checks.segmentation_maps import check_label_maps

_KINDS = {'mmdet.CocoDataset': 'coco', 'mmseg.BaseSegDataset': 'maps'}
_READERS = ('load_data_list', 'parse_data_info')  # with its own, a class has a format of its own
_HEADS = ('bbox_head', 'mask_head', 'decode_head', 'auxiliary_head')


def check_downstream_data(cfg: Config) -> None:
    """Check the COCO jsons and label maps that a config of mmdet or mmseg trains and validates on.

    Data sets of other kinds are passed over.

    Args:
        cfg: The whole config.

    Raises:
        DataError: For a missing folder or file, a json that is no COCO annotation or has no
            objects, categories that are not the config's classes in their order, objects without
            masks where masks are trained, label maps with other values than the classes' numbers,
            heads with another number of classes, or an evaluation against another json. The
            message names the place in the config, the file and the values.
    """
    init_default_scope(cfg.get('default_scope', 'simmim_mm'))
    for loader in ('train_dataloader', 'val_dataloader'):
        if not cfg.get(loader):
            continue
        for place, dataset in _single_datasets(cfg[loader].dataset, f'{loader}.dataset'):
            kind, cls = _kind(dataset)
            if kind is None:
                continue
            classes = _classes(dataset, cls, place)
            if kind == 'coco':
                json_file = check_coco(dataset, classes, place)
                if loader == 'val_dataloader':
                    check_evaluator(cfg, json_file, place)
            else:
                check_label_maps(dataset, classes, place)
            _check_heads(cfg.get('model') or {}, classes, place)


def _single_datasets(dataset: dict, place: str) -> Iterator[tuple[str, dict]]:
    """Config of each data set within wrappers, and where it stands."""
    if dataset.get('dataset'):
        yield from _single_datasets(dataset['dataset'], f'{place}.dataset')
    elif dataset.get('datasets'):
        for i, part in enumerate(dataset['datasets']):
            yield from _single_datasets(part, f'{place}.datasets.{i}')
    else:
        yield place, dataset


def _kind(dataset: dict) -> tuple[str | None, type | None]:
    """``'coco'``, ``'maps'`` or None, and the class."""
    with DATASETS.switch_scope_and_registry(None) as registry:
        cls = registry.get(dataset['type'])
    for base in getattr(cls, '__mro__', ()):
        name = f'{base.__module__.split(".")[0]}.{base.__name__}'
        if name in _KINDS:
            own = any(
                f in vars(c) for c in cls.__mro__[: cls.__mro__.index(base)] for f in _READERS
            )
            return None if own else _KINDS[name], cls
    return None, cls


def _classes(dataset: dict, cls: type, place: str) -> list[str]:
    classes = (dataset.get('metainfo') or {}).get('classes') or cls.METAINFO.get('classes')
    if not classes:
        raise DataError(f"{place}: no classes; set metainfo=dict(classes=('first', 'second', ...))")
    if isinstance(classes, str):
        raise DataError(
            f"{place}: classes is the string {classes!r}; a single class is written ('{classes}',)"
        )
    return list(classes)


def _check_heads(model: dict, classes: list[str], place: str, path: str = 'model') -> None:
    for key, value in model.items():
        for part in value if isinstance(value, (list, tuple)) else [value]:
            if not isinstance(part, dict):
                continue
            count = part.get('num_classes')
            if key in _HEADS and count not in (None, len(classes)):
                raise DataError(
                    f'{path}.{key}.num_classes is {count}, but {place} has {len(classes)} classes '
                    f'({some(classes)}): set it to {len(classes)}'
                )
            _check_heads(part, classes, place, f'{path}.{key}')
