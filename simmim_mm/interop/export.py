"""A checkpoint's backbone as it is read, and what it is in another library before it is written."""

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from torch import Tensor, nn

from simmim_mm._renamed import renamed_attributes
from simmim_mm.checkpoint import (
    find_state_dict,
    load_into,
    load_weights,
    read_config,
    require_finite,
)
from simmim_mm.checkpoint.stored_config import check_types, refused_config
from simmim_mm.interop.family import Family
from simmim_mm.interop.keymap import undo_rules
from simmim_mm.registry import MODELS

PREFIX = 'backbone.'
# How a backbone is trained; what it computes afterwards does not depend on it.
_TRAINING = (
    'attn_drop_rate drop_path_rate drop_rate frozen_pos_embed frozen_stages init_cfg mask_mode '
    'norm_eval with_cp'
)
# What models build by themselves, and what only pretraining uses.
BUILT = re.compile(r'(.*\.)?(relative_position_index|relative_coords_table|attn_mask|mask_token)')
_STAGE_NORM = re.compile(r'norm\d\..*')

_SWIN = 'arch img_size in_channels out_indices pad_small_map patch_size stage_cfgs window_size'
_VIT = 'arch final_norm img_size in_channels interpolate_mode out_indices out_type patch_size'
# By backbone, the arguments that other libraries can express.
PORTABLE = {
    'MaskedSwin': _SWIN,
    'MaskedSwinV2': f'{_SWIN} pretrained_window_sizes',
    'MaskedViT': f'{_VIT} qkv_bias with_cls_token',
    'MaskedBEiT': f'{_VIT} bias layer_cfgs layer_scale_init_value use_abs_pos_emb use_rel_pos_bias '
    'use_shared_rel_pos_bias',
}
# Arguments whose default value, spelled out, changes nothing.
_NEUTRAL = dict(
    use_abs_pos_embed=False,
    out_after_downsample=False,
    layer_scale_init_value=0.0,
    pre_norm=False,
    with_cls_token=True,
    interpolate_mode='bicubic',
    norm_cfg=dict(type='LN'),
    patch_cfg={},
    layer_cfgs={},
)


class ExportError(ValueError):
    """An export that is not possible; the message says why and what to do instead."""


@dataclass(frozen=True)
class Source:
    """A checkpoint's backbone."""

    path: str  # for messages
    family: str  # name of our class
    config: dict[str, Any]  # its arguments, without those that matter in training only
    state_dict: dict[str, Tensor] = field(repr=False)
    data: dict | None = None  # mean and std of the images it was trained on, if known

    def sized(self, window: int | None = None, size: tuple[int, int] | None = None) -> 'Source':
        """The same with another window or image size (None: as trained).

        Raises:
            ExportError: If the backbone has no windows or a number is not positive.
        """
        config = deepcopy(self.config)
        if window is not None:
            if not self.family.startswith('MaskedSwin'):
                raise ExportError(f'--window: a {self.family} has no windows, leave it out')
            if window < 1:
                raise ExportError(f'--window must be at least 1, got {window}')
            config['window_size'] = window
            forget_stage_windows(config)
        if size is not None:
            if min(size) < 1:
                raise ExportError(f'--img-size must be positive, got {size[0]} {size[1]}')
            inner, kind = config, MODELS.get(f'simmim_mm.{self.family}')
            if self.family == 'MaskedBackbone':  # around one of mmpretrain
                inner, kind = config['backbone'], MMPRETRAIN_MODELS.get(config['backbone']['type'])
            if 'img_size' in MODELS.with_defaults(dict(type=kind), img_size=0):
                inner['img_size'] = tuple(size)  # others take any
        known = any(config.get('pretrained_window_sizes', []))
        if self.family == 'MaskedSwinV2' and (window or size) and not known:
            # the biases are functions of offsets in units of the pretraining's windows
            config['pretrained_window_sizes'] = list(self.build().window_sizes)
        return replace(self, config=config)

    def build(self, **changes: Any) -> Any:
        """The backbone with its weights, resized where ``changes`` of its arguments ask for it.

        Raises:
            ExportError: If it cannot be built, or the file lacks weights of it or has others.
        """
        config = {**deepcopy(self.config), **changes}
        init_default_scope('simmim_mm')
        try:
            backbone = MODELS.build(dict(config, type=f'simmim_mm.{self.family}'))
            report = load_into(backbone, self.state_dict)
        except (AssertionError, KeyError, RuntimeError, TypeError, ValueError) as error:
            size = config.get('img_size', 'the default')
            raise ExportError(
                f'the {self.family} of {self.path} cannot be built for images of {size} pixels '
                f'({type(error).__name__}: {error})'
            ) from error
        missing = [k for k in report.missing if not BUILT.fullmatch(k)]
        if 'out_indices' in changes:  # outputs that were not trained; the last stage's always is
            last = f'norm{len(getattr(backbone, "stages", ())) - 1}.'
            missing = [k for k in missing if not _STAGE_NORM.match(k) or k.startswith(last)]
        extra = [k for k in report.unexpected if not (BUILT.fullmatch(k) or _STAGE_NORM.match(k))]
        for what, keys in (('lacks', missing), ('has besides', extra)):
            if keys:
                raise ExportError(
                    f'{self.path} {what} {len(keys)} weights of a {self.family}, such as '
                    f'{PREFIX}{keys[0]}: its weights and its config do not belong together'
                )
        return backbone.eval()

    def build_for(self, library: str, **changes: Any) -> Any:
        """:meth:`build`, for a library that has to express all arguments in its own way."""
        refuse_unknown(self, library)
        forget_stage_windows(self.config)
        return self.build(**changes)

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


def refuse_unknown(source: Source, library: str) -> None:
    """Raise an ExportError at an argument that says of the network what others cannot."""
    for key, value in source.config.items():
        known = key in PORTABLE[source.family].split() or _NEUTRAL.get(key, ...) == value
        if key == 'stage_cfgs':
            known = all(map(_portable_stage, [value] if isinstance(value, dict) else value))
        if not known:
            raise ExportError(
                f'{library} cannot express {key}={value!r} of {source.path}: export to mmpretrain, '
                'or use our backbone'
            )


def _portable_stage(stage: dict) -> bool:
    blocks = stage.get('block_cfgs', {})
    if not isinstance(blocks, dict) or set(stage) - {'window_size', 'block_cfgs'}:
        return False
    attention = blocks.get('attn_cfgs', {})
    return set(blocks) <= {'ffn_ratio', 'attn_cfgs'} and set(attention) <= {'qkv_bias'}


def forget_stage_windows(config: dict) -> None:
    """Take the windows of single stages out of a Swin's arguments."""
    stages = config.get('stage_cfgs')
    for stage in [stages] if isinstance(stages, dict) else stages or []:
        stage.pop('window_size', None)


def read_source(path: str | Path) -> Source:
    """Read the backbone of a checkpoint that training or ``simmim convert`` wrote, safely.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If it is no checkpoint, holds NaN or infinity, or carries no config that
            can be used.
        ExportError: If it has no backbone of ours.
    """
    from simmim_mm.models import backbones  # noqa: F401 - registered before types are checked

    checkpoint = load_weights(path)
    state = find_state_dict(checkpoint, path)
    _backbone_weights(state, path)  # before its config, which other files lack
    return source_of(read_config(checkpoint, path), state, path)


def _backbone_weights(state: Mapping[str, Tensor], path: str | Path) -> dict[str, Tensor]:
    weights = {k[len(PREFIX) :]: v for k, v in state.items() if k.startswith(PREFIX)}
    if not weights:
        raise ExportError(
            f'{path} has no weights of a backbone (backbone.*); its first names are '
            f'{", ".join(list(state)[:3])}. Checkpoints of other code become ours by simmim convert'
        )
    require_finite(weights, path)
    return weights


def source_of(config: Config, state: Mapping[str, Tensor], path: str | Path) -> Source:
    """The backbone in the config and weights of a checkpoint; errors as of :func:`read_source`."""
    weights = _backbone_weights(state, path)
    with refused_config(path):
        model = config.get('model') or {}
        backbone = dict(model.get('backbone') or {})
        data = model.get('data_preprocessor') or config.get('data_preprocessor') or {}
        data = {k: list(data[k]) for k in ('mean', 'std') if data.get(k)}
    family = str(backbone.pop('type', None)).rpartition('.')[-1]
    if not family.startswith(('Masked', 'WindowedViT')):
        raise ExportError(
            f'the backbone of {path} is a {family}, not one of ours (MaskedSwin, MaskedViT, ...): '
            'its own library reads it as it is'
        )
    kept = {k: v for k, v in backbone.items() if k not in _TRAINING.split()}
    with refused_config(path):
        check_types([dict(type=family), kept], MODELS)
    return Source(str(path), family, kept, weights, data or None)


@renamed_attributes(ours='backbone')
@dataclass
class Export:
    """What one of our backbones is in another library."""

    target: str  # name of the library, as in --to
    architecture: str  # its class, or the name of its model
    arguments: dict[str, Any]  # those of the architecture, so that it is the same network
    state_dict: dict[str, Tensor]  # the weights under its names
    backbone: Any  # ours, whose features it has to repeat, in evaluation mode
    # names, with *, that pretraining lacks and the library initializes, to the reason
    fresh: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # what its user should know, a sentence each

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels for which both are built."""
        return image_size(self.backbone)


def image_size(backbone: Any) -> tuple[int, int]:
    """Height and width in pixels that the backbone is built for."""
    height, width = (n * backbone.token_stride for n in backbone.patch_resolution)
    return height, width


def plain_size(backbone: Any) -> int | tuple[int, int]:
    """The same, one number for a square."""
    height, width = image_size(backbone)
    return height if height == width else (height, width)


def whole_ratio(hidden: int, dims: int, library: str) -> int:
    """``hidden / dims`` as the whole number that some libraries need, or an ExportError."""
    if hidden % dims:
        raise ExportError(
            f'{library} takes the width of the MLP as a whole multiple of the embedding, here '
            f'{hidden} to {dims}: use our backbone in its config'
        )
    return hidden // dims


def without(state_dict: dict[str, Tensor], endings: Sequence[str]) -> dict[str, Tensor]:
    """The entries whose names do not end so."""
    return {k: v for k, v in state_dict.items() if not k.endswith(tuple(endings))}


def renamed(backbone: Any, family: Family) -> dict[str, Tensor]:
    """The weights under the names of other code, the mask token left out, or an ExportError."""
    result = {}
    for key, tensor in backbone.state_dict().items():
        if BUILT.fullmatch(key):
            continue
        if hasattr(backbone, 'stages') and key.startswith('norm'):  # the rules are of four stages
            key = key.replace(f'norm{len(backbone.stages) - 1}.', 'norm3.')
        names = undo_rules(family.rules, {PREFIX + key: tensor})
        if not names:
            raise ExportError(f'{PREFIX}{key} has no name in {family.name}: use our backbone')
        result.update(names)
    return result
