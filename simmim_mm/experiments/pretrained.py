"""Checkpoints as the start of a training: what they are of, and whether they fit."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.registry import MODELS

from simmim_mm.checkpoint import CheckpointError, LoadReport, load_into, read_config
from simmim_mm.checkpoint.safe_load import find_state_dict, load_weights

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
    """

    name: str
    path: str
    backbone: dict | None
    preprocessor: dict
    prefix: str

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
    try:
        cfg = read_config(checkpoint, path).to_dict()
    except CheckpointError:  # none, or code: as good as none
        cfg = {}
    model = cfg.get('model') or {}
    return Pretrained(
        name,
        str(path),
        model.get('backbone'),
        dict(model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}),
        prefix='backbone.' if any(key.startswith('backbone.') for key in state) else '',
    )


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
