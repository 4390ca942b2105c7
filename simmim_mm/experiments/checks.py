"""Looking through a config before several trainings start with it."""

import io
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from simmim_mm.datasets.errors import DataError
from simmim_mm.datasets.labeled import check_classes
from simmim_mm.engine.checks import check_downstream_data


def check_config(cfg: Config) -> list[Path]:
    """Check the data of a config of mmpretrain, mmdet or mmseg, as tools/train.py does.

    Returns:
        Files and folders that the data sets read.

    Raises:
        ValueError: If there is no ``model.backbone``, or a whole model is loaded, which would
            replace the backbone's weights.
        DataError: If the data cannot be used.
    """
    if not (cfg.get('model') or {}).get('backbone'):
        raise ValueError('the config has no model.backbone to put the weights into')
    for key, value in (('load_from', cfg.get('load_from')), ('model.init_cfg', _init(cfg.model))):
        if value:
            raise ValueError(
                f'the config loads a whole model ({key}), which would replace the weights that '
                f'are compared: set {key}=None'
            )
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    check_downstream_data(cfg)
    paths: dict[Path, None] = {}
    train = None
    for loader in ('train_dataloader', 'val_dataloader'):
        if not cfg.get(loader):
            raise ValueError(f'the config has no {loader}')
        name = f'{loader}.dataset'
        try:
            with redirect_stdout(io.StringIO()):  # pycocotools tells of its progress
                dataset = DATASETS.build(cfg[loader].dataset)
        except (AssertionError, RuntimeError) as error:  # so mmpretrain complains about its data
            raise DataError(f'{name}: {error}') from error
        check_classes(dataset, name, train, cfg.model)
        train = train or dataset
        paths.update(dict.fromkeys(_paths(dataset)))
    return list(paths)


def _init(model: dict) -> bool:
    return (model.get('init_cfg') or {}).get('type') == 'Pretrained'


def _paths(dataset: Any) -> Iterator[Path]:
    """What a data set reads, also inside wrappers."""
    inner = getattr(dataset, 'datasets', None) or getattr(dataset, 'dataset', None)
    for part in inner if isinstance(inner, (list, tuple)) else [inner] * (inner is not None):
        yield from _paths(part)
    if inner is None:
        prefix = getattr(dataset, 'data_prefix', None)
        values = list(prefix.values()) if isinstance(prefix, dict) else [prefix]
        for value in (getattr(dataset, 'ann_file', None), *values):
            if isinstance(value, str) and value and Path(value).exists():
                yield Path(value)


__all__ = ['check_config']
