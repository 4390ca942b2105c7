"""The backbone of a checkpoint, at the window and image size that are asked for."""

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from simmim_mm.checkpoint.safe_load import find_state_dict, load_weights
from simmim_mm.checkpoint.stored_config import check_types, parse_config
from simmim_mm.interop.export import ExportError
from simmim_mm.registry import MODELS

PREFIX = 'backbone.'
# How a backbone is trained; what it computes afterwards does not depend on it.
_TRAINING = {
    'attn_drop_rate',
    'drop_path_rate',
    'drop_rate',
    'frozen_pos_embed',
    'frozen_stages',
    'init_cfg',
    'mask_mode',
    'norm_eval',
    'with_cp',
}
# What models build by themselves, and what only pretraining uses.
BUILT = re.compile(r'(.*\.)?(relative_position_index|relative_coords_table|mask_token)')
_STAGE_NORM = re.compile(r'norm\d\..*')


@dataclass(frozen=True)
class Source:
    """A checkpoint's backbone.

    Attributes:
        path: The file, for messages.
        family: Name of our class.
        config: Its arguments, without those that matter in training only.
        state_dict: Its weights.
        data: ``mean`` and ``std`` of the images it was trained on, if known.
    """

    path: str
    family: str
    config: dict[str, Any]
    state_dict: dict[str, Tensor] = field(repr=False)
    data: dict | None = None

    def sized(self, window: int | None = None, size: tuple[int, int] | None = None):
        """The same with another window or image size (None: as trained).

        Raises:
            ExportError: If the backbone has no windows or a number is not positive.
        """
        config = deepcopy(self.config)
        swin = self.family.startswith('MaskedSwin')
        if window is not None:
            if not swin:
                raise ExportError(f'--window: a {self.family} has no windows, leave it out')
            if window < 1:
                raise ExportError(f'--window must be at least 1, got {window}')
            config['window_size'] = window
            forget_stage_windows(config)
        if size is not None:
            if min(size) < 1:
                raise ExportError(f'--img-size must be positive, got {size[0]} {size[1]}')
            config['img_size'] = tuple(size)
        known = any(config.get('pretrained_window_sizes', []))
        if self.family == 'MaskedSwinV2' and (window or size) and not known:
            # the biases are functions of offsets in units of the pretraining's windows
            config['pretrained_window_sizes'] = list(self.build().window_sizes)
        return replace(self, config=config)

    def build(self, **changes: Any) -> nn.Module:
        """The backbone with its weights, resized where its size differs from the trained one.

        Args:
            **changes: Arguments that differ from the stored ones.

        Raises:
            ExportError: If it cannot be built, or the file lacks weights of it or has others.
        """
        config = {**deepcopy(self.config), **changes}
        init_default_scope('simmim_mm')
        try:
            backbone = MODELS.build(dict(config, type=f'simmim_mm.{self.family}'))
            loaded = backbone.load_state_dict(dict(self.state_dict), strict=False)
        except (AssertionError, KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[1 if '\n' in str(error) else 0].strip()
            size = config.get('img_size', 'the default')
            raise ExportError(
                f'the {self.family} of {self.path} cannot be built for images of {size} pixels '
                f'({type(error).__name__}: {reason})'
            ) from error
        missing = [k for k in loaded.missing_keys if not BUILT.fullmatch(k)]
        if 'out_indices' in changes:  # outputs that were not trained; the last stage's always is
            last = f'norm{len(getattr(backbone, "stages", ())) - 1}.'
            missing = [k for k in missing if not _STAGE_NORM.match(k) or k.startswith(last)]
        extra = [k for k in loaded.unexpected_keys if not BUILT.fullmatch(k)]
        extra = [k for k in extra if not _STAGE_NORM.match(k)]
        for what, keys in (('lacks', missing), ('has besides', extra)):
            if keys:
                raise ExportError(
                    f'{self.path} {what} {len(keys)} weights of a {self.family}, such as '
                    f'{PREFIX}{keys[0]}: its weights and its config do not belong together'
                )
        return backbone.eval()

    def resized(self, backbone: nn.Module) -> list[str]:
        """Names of weights that loading interpolated, with both shapes."""
        own = backbone.state_dict()
        lines = []
        for key, tensor in self.state_dict.items():
            # pretraining shares one table, fine-tuning has it in each block
            here = own.get(key, own.get(key.replace('rel_pos_bias.', 'layers.0.attn.')))
            if here is not None and here.shape != tensor.shape and not BUILT.fullmatch(key):
                lines.append(f'{key} {tuple(tensor.shape)} to {tuple(here.shape)}')
        return lines


def read_source(path: str | Path) -> Source:
    """Read the backbone of a checkpoint that training or ``tools/convert.py`` wrote.

    Nothing that the file holds is executed, its config included.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If it is no checkpoint.
        ExportError: If it carries no config, or no backbone of ours.
    """
    from simmim_mm.models import backbones  # noqa: F401 - registered before types are checked

    checkpoint = load_weights(path)
    state = find_state_dict(checkpoint, path)
    weights = {k[len(PREFIX) :]: v for k, v in state.items() if k.startswith(PREFIX)}
    if not weights:
        raise ExportError(
            f'{path} has no weights of a backbone (backbone.*); its first names are '
            f'{", ".join(list(state)[:3])}. Checkpoints of other code become ours by '
            'tools/convert.py'
        )
    config = _stored_config(checkpoint, path)
    model = config.get('model') or {}
    backbone = dict(model.get('backbone') or {})
    family = str(backbone.pop('type', None)).rpartition('.')[-1]
    if not family.startswith('Masked'):
        raise ExportError(
            f'the backbone of {path} is a {family}, not one of ours (MaskedSwin, MaskedViT, ...): '
            'its own library reads it as it is'
        )
    kept = {k: v for k, v in backbone.items() if k not in _TRAINING}
    try:
        check_types([dict(type=family), kept], MODELS)
    except ValueError as error:
        raise ExportError(f'the config in {path} is not used: {error}') from None
    data = model.get('data_preprocessor') or config.get('data_preprocessor') or {}
    data = {k: list(data[k]) for k in ('mean', 'std') if data.get(k)}
    return Source(str(path), family, kept, weights, data or None)


def forget_stage_windows(config: dict) -> None:
    """Take the windows of single stages out of a Swin's arguments."""
    stages = config.get('stage_cfgs')
    for stage in [stages] if isinstance(stages, dict) else stages or []:
        stage.pop('window_size', None)


def _stored_config(checkpoint: Mapping, path: str | Path) -> Config:
    text = (checkpoint.get('meta') or {}).get('cfg')
    if not isinstance(text, str):
        raise ExportError(
            f'{path} carries no config: give a checkpoint that training or tools/convert.py wrote'
        )
    try:
        return parse_config(text)
    except ValueError as error:
        raise ExportError(f'the config in {path} is not read: {error}') from None
