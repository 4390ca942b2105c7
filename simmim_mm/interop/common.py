"""Pieces that several families share."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from simmim_mm.interop.rules import Rule

UNKNOWN: Any = type('Unknown', (), {})()  # what the shapes do not tell
IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])


def data_preprocessor(in_chans: int) -> dict:
    """ImageNet's statistics for RGB, in 0..255; middle gray for other numbers of channels."""
    stats = IMAGENET if in_chans == 3 else dict(mean=[127.5] * in_chans, std=[64.0] * in_chans)
    return dict(type='MIMDataPreprocessor', **stats)


def block_rules(theirs: str, ours: str, names: Sequence[tuple[str, str]]) -> tuple[Rule, ...]:
    """Rules of the parts of a block: ``theirs.<name>.{rest}`` to ``ours.<name>.{rest}``."""
    return tuple(Rule(f'{theirs}.{a}.{{rest}}', f'{ours}.{b}.{{rest}}') for a, b in names)


VIT_BLOCK = (
    ('norm1', 'ln1'),
    ('norm2', 'ln2'),
    ('attn', 'attn'),
    ('mlp.fc1', 'ffn.layers.0.0'),
    ('mlp.fc2', 'ffn.layers.1'),
)
# Heads by width, of the published models and the usual small ones: the weights do not tell.
VIT_HEADS = {192: 3, 384: 6, 512: 8, 768: 12, 1024: 16, 1280: 16}


def count(state_dict: Mapping[str, Tensor], pattern: str) -> int:
    """One more than the largest number that the first group of ``pattern`` finds; 0 for none."""
    found = [re.match(pattern, key) for key in state_dict]
    return max((int(m.group(1)) + 1 for m in found if m), default=0)


def shape(state_dict: Mapping[str, Tensor], key: str) -> tuple[int, ...]:
    """Shape of an entry; a ValueError that names it where it is missing."""
    if key not in state_dict:
        raise ValueError(f'the weights have no {key}, which tells the architecture')
    return tuple(state_dict[key].shape)


def side(n: int, what: str) -> int:
    """Side of a square of n; a ValueError where it is none."""
    root = math.isqrt(n)
    if root * root != n:
        raise ValueError(f'{n} {what} are not a square: give img_size by hand')
    return root


def settle(inferred: dict, hints: dict) -> dict:
    """Arguments given by hand replace what was inferred; None that remains is an error."""
    config = {k: hints.get(k, v) for k, v in inferred.items()}
    unknown = [k for k, v in config.items() if v is UNKNOWN]
    if unknown:
        raise ValueError(
            f'the weights do not tell {", ".join(unknown)}: give it by hand, as in '
            f'"{unknown[0]}=VALUE"'
        )
    return config
