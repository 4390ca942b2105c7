"""Weight files: safe reading, atomic writing, the config they carry, fitting to another size."""

from simmim_mm.checkpoint.fit_weights import GEOMETRY
from simmim_mm.checkpoint.load_backbone import BackboneReport, load_backbone
from simmim_mm.checkpoint.position_bias import resize_position_bias
from simmim_mm.checkpoint.safe_load import (
    CheckpointError,
    NotWeights,
    UnsafeCheckpoint,
    find_state_dict,
    load_weights,
    plain_dict,
)

__all__ = [
    'GEOMETRY',
    'BackboneReport',
    'CheckpointError',
    'NotWeights',
    'UnsafeCheckpoint',
    'find_state_dict',
    'load_backbone',
    'load_weights',
    'plain_dict',
    'resize_position_bias',
]
