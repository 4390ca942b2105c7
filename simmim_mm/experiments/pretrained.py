"""Checkpoints as the start of a training: what they are of, and whether they fit."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import MODELS

from simmim_mm.checkpoint import (
    CheckpointError,
    LoadReport,
    load_into,
    read_config,
    require_finite,
)
from simmim_mm.checkpoint.safe_load import find_state_dict, load_weights
from simmim_mm.datasets.image_dataset import single_datasets
from simmim_mm.engine.checks import check_run

MAX_ABSENT = 0.2  # of the backbone's tensors, by number, missing in the file or of another shape
# Made for another window or image size on loading, or of the pretraining alone.
_RESIZED = ('relative_position', 'relative_coords', 'pos_embed', 'mask_token', 'attn_mask')


class CheckpointMismatch(ValueError):
    """A checkpoint is not of the model that it is to start."""


@dataclass
class Pretrained:
    """A checkpoint that was read, safely.

    Attributes:
        backbone: Config of the backbone that was trained; None if the file carries no config.
        preprocessor: Config of the data preprocessor, with the ``mean`` and ``std`` that the
            backbone is used to.
        prefix: Of the backbone's keys in the file.
        loader: Config of the transform that loaded the images; None if the file carries no config.
    """

    name: str
    path: str
    backbone: dict | None
    preprocessor: dict
    prefix: str
    loader: dict | None = None

    @property
    def init_cfg(self) -> dict:
        """What loads it into a backbone."""
        cfg = dict(type='Pretrained', checkpoint=self.path)
        return {**cfg, 'prefix': self.prefix} if self.prefix else cfg


def named_file(text: str) -> tuple[str, str]:
    """Name and file of ``NAME=FILE``; without a name it is empty."""
    name, _, path = text.rpartition('=') if not Path(text).exists() else ('', '', text)
    return name, path


def read_pretrained(name: str, path: str | Path) -> Pretrained:
    """Read a checkpoint and the config that it carries, without running anything of it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no checkpoint.
    """
    checkpoint = load_weights(path)
    state = find_state_dict(checkpoint, path)
    require_finite(state, path)
    try:
        cfg = read_config(checkpoint, path).to_dict()
        model = cfg.get('model') or {}
        backbone, loader = model.get('backbone'), _loader(cfg)
        preprocessor = dict(model.get('data_preprocessor') or cfg.get('data_preprocessor') or {})
    except (CheckpointError, AttributeError, LookupError, TypeError, ValueError):
        backbone, preprocessor, loader = None, {}, None  # none, code, or nonsense
    prefix = 'backbone.' if any(key.startswith('backbone.') for key in state) else ''
    return Pretrained(name, str(path), backbone, preprocessor, prefix, loader)


def _loader(cfg: dict) -> dict | None:
    for name in ('train_dataloader', 'val_dataloader'):
        for _, part in single_datasets((cfg.get(name) or {}).get('dataset') or {}):
            for step in part.get('pipeline') or ():
                if step['type'] in ('LoadImage', 'simmim_mm.LoadImage'):
                    return step
    return None


def check_config(cfg: Config) -> list[Path]:
    """Check the data of a config, and that a training can start from a backbone's weights.

    Returns:
        Files and folders that the data sets read.

    Raises:
        ValueError: If there is no ``model.backbone``, a whole model is loaded, a dataloader is
            missing, or the data cannot be used.
    """
    if not (cfg.get('model') or {}).get('backbone'):
        raise ValueError('the config has no model.backbone to put the weights into')
    init = (cfg.model.get('init_cfg') or {}).get('type') == 'Pretrained'
    for key, value in (('load_from', cfg.get('load_from')), ('model.init_cfg', init)):
        if value:
            raise ValueError(
                f'the config loads a whole model ({key}), which would replace the weights that '
                f'are compared: set {key}=None'
            )
    for name in ('train_dataloader', 'val_dataloader'):
        if not cfg.get(name):
            raise ValueError(f'the config has no {name}')
    checked = check_run(cfg)
    for warning in checked.warnings:
        MMLogger.get_current_instance().warning(warning)
    datasets = checked.datasets.values()
    return list(dict.fromkeys(path for dataset in datasets for path in read_paths(dataset)))


def read_paths(dataset: Any) -> Iterator[Path]:
    """Files and folders that a data set reads, also in wrappers."""
    for _, part in single_datasets(dataset):
        prefix = getattr(part, 'data_prefix', None)
        values = list(prefix.values()) if isinstance(prefix, dict) else [prefix]
        for value in (getattr(part, 'ann_file', None), *getattr(part, 'roots', ()), *values):
            if isinstance(value, str) and value and Path(value).exists():
                yield Path(value)


def check_fits(backbone: dict, pretrained: Pretrained) -> None:
    """Build a backbone and load the checkpoint into it, as the training will.

    Args:
        backbone: Its config; types are looked up in the default scope.

    Raises:
        CheckpointMismatch: If the file lacks more than a fifth of the backbone's tensors, or has
            them in another shape.
        ValueError: If loading fails.
    """
    module = MODELS.build({**backbone, 'init_cfg': pretrained.init_cfg})
    name = f'{pretrained.path} is not of a {_named(backbone)}'
    if pretrained.backbone:
        name += f' but of a {_named(pretrained.backbone)}'

    def check(report: LoadReport) -> None:
        missing, mismatched = _required(report.missing), _required(report.mismatched)
        total = len(missing) + len(mismatched) + len(_required(report.loaded))
        if len(missing) + len(mismatched) > MAX_ABSENT * total:
            example = report.with_shapes([*missing, *mismatched][0])
            raise CheckpointMismatch(
                f'{name}: of its {total} tensors, {len(missing)} are missing in the file and '
                f'{len(mismatched)} are of another shape, such as {example}'
            )

    try:
        load_into(module, pretrained.path, pretrained.prefix, check=check)
    except CheckpointError as error:
        raise CheckpointMismatch(str(error)) from error


def _required(names: Iterable[str]) -> list[str]:
    return [name for name in names if not any(part in name for part in _RESIZED)]


def _named(backbone: dict) -> str:
    arch: Any = backbone.get('arch', backbone.get('depth', ''))
    return f'{backbone["type"]} {arch if isinstance(arch, (str, int)) else ""}'.strip()
