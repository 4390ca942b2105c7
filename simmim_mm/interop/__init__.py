"""Names and layouts of other code bases, in both directions: a file for each architecture."""

from simmim_mm.interop.converter import convert_checkpoint, load_converted
from simmim_mm.interop.export import Export, ExportError, Source, read_source
from simmim_mm.interop.exporter import TOLERANCE, export_checkpoint, verify
from simmim_mm.interop.keymap import Conversion, Rule
from simmim_mm.interop.libraries import TARGETS, check_output, write_export
from simmim_mm.interop.registry import (
    convert,
    detect_family,
    export_backbone,
    families,
    get_family,
    infer_config,
    model_config,
    revert,
    supports,
)

__all__ = [
    'TARGETS',
    'TOLERANCE',
    'Conversion',
    'Export',
    'ExportError',
    'Rule',
    'Source',
    'check_output',
    'convert',
    'convert_checkpoint',
    'detect_family',
    'export_backbone',
    'export_checkpoint',
    'families',
    'get_family',
    'infer_config',
    'load_converted',
    'model_config',
    'read_source',
    'revert',
    'supports',
    'verify',
    'write_export',
]
