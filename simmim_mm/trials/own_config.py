"""Looking through a user's own config of mmdet, mmseg or mmpretrain, before trainings start."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS

from simmim_mm.datasets.errors import DataError

from .coco_json import load_coco
from .label_maps import label_values

_LOADERS = ('train_dataloader', 'val_dataloader')


def check_own_config(cfg: Config) -> list[Path]:
    """Build the data sets of a config, in its default scope, and compare them with its heads.

    Returns:
        Files and folders that the data sets read.

    Raises:
        ValueError: If there is no ``model.backbone``, or a whole model is loaded, which would
            replace the backbone's weights.
        DataError: If the data cannot be used: nothing to read, other classes in the validation than
            in the training or than the heads have, values of label maps beyond the classes.
    """
    _check_model(cfg)
    built, paths = [], []
    for name in _LOADERS:
        if not cfg.get(name):
            raise ValueError(f'the config has no {name}')
        for part in _innermost(cfg[name].dataset):
            if 'Coco' in part.get('type', '') and part.get('ann_file'):
                path = Path(part.get('data_root') or '') / part.ann_file
                if not path.is_file():
                    raise DataError(f'{name}.dataset: no json {path}')
                load_coco(path)
        try:
            dataset = DATASETS.build(cfg[name].dataset)
            number = len(dataset)
        except Exception as error:  # whatever the data set of another package raises
            kind = type(error).__name__
            raise DataError(f'{name}.dataset cannot be built: {kind}: {error}') from error
        if not number:
            raise DataError(f'{name}.dataset is empty')
        built.append(dataset)
        for part in _innermost(dataset):
            paths += _paths(part)
    classes = [tuple(dataset.metainfo.get('classes') or ()) for dataset in built]
    if classes[0] != classes[1]:
        raise DataError(
            f'the classes of {_LOADERS[0]} ({", ".join(classes[0])}) and of {_LOADERS[1]} '
            f'({", ".join(classes[1])}) differ'
        )
    if classes[0]:
        _check_heads(cfg.model, len(classes[0]))
    for dataset in built:
        for part in _innermost(dataset):
            _check_label_maps(part)
    return list(dict.fromkeys(paths))


def _check_model(cfg: Config) -> None:
    if not (cfg.get('model') or {}).get('backbone'):
        raise ValueError('the config has no model.backbone to put the weights into')
    init = cfg.model.get('init_cfg')
    whole = 'load_from' if cfg.get('load_from') else 'model.init_cfg'
    if cfg.get('load_from') or (init and init.get('type') == 'Pretrained'):
        raise ValueError(
            f'the config loads a whole model ({whole}), which would replace what is compared: '
            f'set {whole}=None'
        )


def _innermost(dataset: Any) -> Iterator[Any]:
    """Configs or data sets inside wrappers."""
    get = dataset.get if isinstance(dataset, dict) else lambda key: getattr(dataset, key, None)
    inner = get('datasets') or ([get('dataset')] if get('dataset') is not None else [])
    if not inner:
        yield dataset
    for part in inner:
        yield from _innermost(part)


def _paths(dataset: Any) -> Iterator[Path]:
    prefix = getattr(dataset, 'data_prefix', None) or {}
    for value in (getattr(dataset, 'ann_file', ''), *getattr(prefix, 'values', tuple)()):
        if isinstance(value, str) and value and Path(value).exists():
            yield Path(value)


def _check_heads(model: Any, number: int, where: str = 'model') -> None:
    if isinstance(model, dict):
        if isinstance(model.get('num_classes'), int) and model['num_classes'] != number:
            raise DataError(
                f'{where}.num_classes is {model["num_classes"]}, the data have {number} classes'
            )
        for key, value in model.items():
            _check_heads(value, number, f'{where}.{key}')
    elif isinstance(model, (list, tuple)):
        for index, value in enumerate(model):
            _check_heads(value, number, f'{where}.{index}')


def _check_label_maps(dataset: Any) -> None:
    """Values of mmseg's label maps; nothing for other data sets."""
    if not hasattr(dataset, 'reduce_zero_label') or dataset.metainfo.get('label_map'):
        return
    number, ignored = len(dataset.metainfo['classes']), dataset.ignore_index
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    pairs = [(Path(x['img_path']), Path(x['seg_map_path'])) for x in infos]
    with ThreadPoolExecutor() as pool:
        for (_, path), values in zip(pairs, pool.map(label_values, *zip(*pairs))):
            if dataset.reduce_zero_label:
                values = {value - 1 for value in values - {0, 255}}
            if wrong := sorted(v for v in values if v >= number and v != ignored):
                raise DataError(
                    f'{path} has the value {wrong[0]}, but the data set has {number} classes and '
                    f'leaves {ignored} out'
                )


__all__ = ['check_own_config']
