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
from .load_backbone import BackboneReport, load_backbone
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
    'BackboneReport',
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
    'load_backbone',
    'load_converted',
    'load_weights',
    'model_config',
    'plain_dict',
    'resize_position_bias',
    'revert',
]
