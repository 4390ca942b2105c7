"""Checkpoints as the start of a training: what they are of, and whether they fit."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS
from torch import Tensor, nn

from simmim_mm.checkpoint.safe_load import find_state_dict, load_weights
from simmim_mm.checkpoint.stored_config import parse_config
from simmim_mm.datasets.wrappers import single_datasets
from simmim_mm.engine.checks import check_run

_SHARE = 0.8  # of the backbone's tensors that have to be in the file
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
        shapes: Of the backbone's weights, by name without prefix.
    """

    name: str
    path: str
    backbone: dict | None
    preprocessor: dict
    prefix: str
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def init_cfg(self) -> dict:
        """What loads it into a backbone."""
        cfg = dict(type='Pretrained', checkpoint=self.path)
        return {**cfg, 'prefix': self.prefix} if self.prefix else cfg


def read_pretrained(name: str, path: str | Path) -> Pretrained:
    """Read a checkpoint and the config that it carries, without running anything of it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no checkpoint.
    """
    checkpoint = load_weights(path)
    state = find_state_dict(checkpoint, path)
    cfg = _stored(checkpoint)
    model = cfg.get('model') or {}
    pretrained = Pretrained(
        name,
        str(path),
        model.get('backbone'),
        dict(model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}),
        prefix='backbone.' if any(key.startswith('backbone.') for key in state) else '',
    )
    pretrained.shapes = {k: tuple(v.shape) for k, v in _weights(checkpoint, pretrained).items()}
    return pretrained


def _weights(checkpoint: dict, pretrained: 'Pretrained') -> dict[str, Tensor]:
    """The backbone's, without prefix."""
    state, prefix = find_state_dict(checkpoint, pretrained.path), pretrained.prefix
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}


def _stored(checkpoint: dict) -> dict:
    text = (checkpoint.get('meta') or {}).get('cfg')
    if not isinstance(text, str):
        return {}
    try:
        return parse_config(text).to_dict()
    except ValueError:  # it is code: as good as none
        return {}


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
    datasets = check_run(cfg).datasets.values()
    return list(dict.fromkeys(path for dataset in datasets for path in _paths(dataset)))


def _paths(dataset: Any) -> Iterator[Path]:
    """What a data set reads, also in wrappers."""
    for _, part in single_datasets(dataset):
        prefix = getattr(part, 'data_prefix', None)
        values = list(prefix.values()) if isinstance(prefix, dict) else [prefix]
        for value in (getattr(part, 'ann_file', None), *values):
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
    module: nn.Module = MODELS.build({**backbone, 'init_cfg': pretrained.init_cfg})
    own = {
        key: tuple(tensor.shape)
        for key, tensor in module.state_dict().items()
        if not any(part in key for part in _RESIZED)
    }
    absent = [key for key in own if key not in pretrained.shapes]
    other = [key for key in own if key not in absent and own[key] != pretrained.shapes[key]]
    if len(absent) + len(other) > (1 - _SHARE) * len(own):
        example = f'such as {absent[0]}' if absent else _shapes(other[0], own, pretrained.shapes)
        raise CheckpointMismatch(
            f'{pretrained.path} is not of a {_named(backbone)}'
            f'{_of(pretrained)}: of its {len(own)} tensors, {len(absent)} are missing in the file '
            f'and {len(other)} are of another shape, {example}'
        )
    state = _weights(load_weights(pretrained.path), pretrained)
    try:
        module.load_state_dict(state, strict=False)  # resizes as the training's loading does
    except (RuntimeError, AssertionError) as error:
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise CheckpointMismatch(
            f'{pretrained.path} does not load into {_named(backbone)}: {reason}'
        ) from error


def _shapes(key: str, own: dict, stored: dict) -> str:
    return f'such as {key}: {stored[key]} in the file, {own[key]} in the model'


def _named(backbone: dict) -> str:
    arch: Any = backbone.get('arch', backbone.get('depth', ''))
    return f'{backbone["type"]} {arch if isinstance(arch, (str, int)) else ""}'.strip()


def _of(pretrained: Pretrained) -> str:
    return f' but of a {_named(pretrained.backbone)}' if pretrained.backbone else ''
