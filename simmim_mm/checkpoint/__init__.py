"""Weight files: safe reading, atomic writing, the config they carry, fitting, loading."""

from simmim_mm.checkpoint.file_backend import AtomicLocalBackend, write_checkpoint
from simmim_mm.checkpoint.finite import non_finite, require_finite
from simmim_mm.checkpoint.load import LoadReport, load_into
from simmim_mm.checkpoint.load_backbone import load_backbone
from simmim_mm.checkpoint.position_bias import resize_position_bias
from simmim_mm.checkpoint.safe_load import (
    CheckpointError,
    NotWeights,
    UnsafeCheckpoint,
    find_state_dict,
    load_weights,
    plain_dict,
)
from simmim_mm.checkpoint.stored_config import building_from, open_run, read_config

__all__ = [
    'AtomicLocalBackend',
    'CheckpointError',
    'LoadReport',
    'NotWeights',
    'UnsafeCheckpoint',
    'building_from',
    'find_state_dict',
    'load_backbone',
    'load_into',
    'load_weights',
    'non_finite',
    'open_run',
    'plain_dict',
    'read_config',
    'require_finite',
    'resize_position_bias',
    'write_checkpoint',
]
