"""Checkpoints of other code bases: safe reading, conversion to our names and back."""

from .families import (
    convert,
    detect_family,
    families,
    get_family,
    infer_config,
    model_config,
    revert,
)
from .load import LoadReport, load_converted
from .position_bias import resize_position_bias
from .rules import Conversion, Rule
from .safe_load import (
    CheckpointError,
    NotWeights,
    UnsafeCheckpoint,
    find_state_dict,
    load_weights,
    plain_dict,
)

__all__ = [
    'CheckpointError',
    'Conversion',
    'LoadReport',
    'NotWeights',
    'Rule',
    'UnsafeCheckpoint',
    'convert',
    'detect_family',
    'families',
    'find_state_dict',
    'get_family',
    'infer_config',
    'load_converted',
    'load_weights',
    'model_config',
    'plain_dict',
    'resize_position_bias',
    'revert',
]
