"""A family of checkpoints, those of one code base, and what the shapes of its weights tell."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from simmim_mm.interop.keymap import Rule, apply_rules

UNKNOWN: Any = type('Unknown', (), {})()  # what the shapes do not tell
IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])

ENCODER = 'encoder.'  # before the names of a backbone in SimMIM's files
MASK_TOKEN = Rule('encoder.mask_token', 'backbone.mask_token')
LINEAR_DECODER = Rule('decoder.0.{rest}', 'neck.decoder.0.{rest}')
# mmpretrain and mmselfsup: their names are ours.
_TABLES = [f'backbone.{{rest}}.relative_{kind}' for kind in ('position_index', 'coords_table')]
OPENMMLAB_RULES = (
    *(Rule(n, n, regenerated=True) for n in ('data_preprocessor.{rest}', *_TABLES)),
    *(Rule(n, n) for n in ('backbone.{rest}', 'neck.{rest}')),
)


class MissingWeight(ValueError):
    """The weights lack an entry that determines an argument; holds our name of the entry."""


@dataclass(frozen=True)
class Family:
    """How the checkpoints of one code base map to our models."""

    name: str  # as for simmim convert --family
    title: str  # whose code
    rules: tuple[Rule, ...]
    detect: Callable[[Mapping[str, Tensor]], bool]
    model_config: Callable[[dict], dict]  # ours from the authors' constructor arguments
    # Those arguments, UNKNOWN among them, from weights and index tables under our names and from
    # the config that was stored beside the weights, possibly empty.
    infer: Callable[[Mapping[str, Tensor], dict], dict]
    # What larger models there put before these names ('vit.'): taken off, not put on again.
    prefix: str = ''

    def bare(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The entries without the prefix."""
        return {key.removeprefix(self.prefix): value for key, value in state_dict.items()}

    def infer_config(self, state_dict: Mapping[str, Tensor], hints: dict) -> dict:
        """The authors' constructor arguments, or a ValueError that says what is unknown."""
        conversion = apply_rules(self.rules, self.bare(state_dict), self.name)
        try:
            config = self.infer({**conversion.state_dict, **conversion.tables}, hints)
        except MissingWeight as error:
            sources = (rule.restore(str(error)) for rule in self.rules)
            name = next(filter(None, sources), str(error))
            raise ValueError(f'the weights have no {name}, which tells the architecture') from None
        if 'encoder' in config:
            return {**config, 'encoder': complete_arguments(config['encoder'], hints)}
        return complete_arguments(config, hints)


def having(*names: str, without: str = '') -> Callable[[Mapping[str, Tensor]], bool]:
    """A test of a state dict: whether it has all of the names, and not the one ``without``."""
    return lambda state: all(name in state for name in names) and without not in state


def shape(weights: Mapping[str, Tensor], key: str) -> tuple[int, ...]:
    """Shape of an entry; a :class:`MissingWeight` where it is missing."""
    if key not in weights:
        raise MissingWeight(key)
    return tuple(weights[key].shape)


def count(weights: Mapping[str, Tensor], pattern: str) -> int:
    """One more than the largest number that the first group of ``pattern`` finds; 0 for none."""
    found = [re.match(pattern, key) for key in weights]
    return max((int(m.group(1)) + 1 for m in found if m), default=0)


def square_side(n: int, what: str) -> int:
    """Side of a square of n; a ValueError where it is none."""
    root = math.isqrt(n)
    if root * root != n:
        raise ValueError(f'{n} {what} are not a square: give img_size by hand')
    return root


def complete_arguments(inferred: dict, hints: dict) -> dict:
    """Arguments given by hand replace what was inferred; one that remains unknown is an error."""
    config = {k: hints.get(k, v) for k, v in inferred.items()}
    if unknown := [k for k, v in config.items() if v is UNKNOWN]:
        raise ValueError(
            f'the weights do not tell {", ".join(unknown)}: give it by hand, as in '
            f'"{unknown[0]}=VALUE"'
        )
    return config


def data_preprocessor(in_chans: int) -> dict:
    """ImageNet's statistics for RGB, in 0..255; middle gray for other numbers of channels."""
    stats = IMAGENET if in_chans == 3 else dict(mean=[127.5] * in_chans, std=[64.0] * in_chans)
    return dict(type='MIMDataPreprocessor', **stats)


def simmim_model(backbone: dict, width: int, stride: int, **options: Any) -> dict:
    """SimMIM's model around a backbone with ``width`` channels in its last map."""
    channels = backbone['in_channels']
    neck = dict(type='PixelShuffleDecoder', in_channels=width, stride=stride, out_channels=channels)
    return dict(
        type='MaskedImageModel',
        data_preprocessor=data_preprocessor(channels),
        backbone=backbone,
        neck=neck,
        head=dict(type='PixelHead', loss=dict(type='MaskedPixelLoss', criterion='l1')),
        **options,
    )
