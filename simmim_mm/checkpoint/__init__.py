"""Weight files: safe reading, atomic writing, the config they carry, fitting, loading.

- :func:`load_weights` reads a file without running anything in it, :func:`read_config` its config.
- :func:`load_into` loads weights into a module and returns a :class:`LoadReport`;
  :func:`load_backbone` does so for a backbone and refuses weights of another one.
- :func:`write_checkpoint` writes a file that appears complete or not at all.
"""

from simmim_mm.checkpoint.file_backend import AtomicLocalBackend, write_checkpoint
from simmim_mm.checkpoint.fit_weights import GEOMETRY
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
from simmim_mm.checkpoint.stored_config import open_run, read_config

__all__ = [
    'GEOMETRY',
    'AtomicLocalBackend',
    'CheckpointError',
    'LoadReport',
    'NotWeights',
    'UnsafeCheckpoint',
    'find_state_dict',
    'load_backbone',
    'load_into',
    'load_weights',
    'open_run',
    'plain_dict',
    'read_config',
    'resize_position_bias',
    'write_checkpoint',
]
