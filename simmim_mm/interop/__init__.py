"""Names and layouts of other code bases, in both directions: a file for each architecture.

- :func:`convert_checkpoint` brings a file of other code to our names.
- :func:`export_checkpoint` writes a backbone of ours for another library.

Below them, :mod:`~simmim_mm.interop.registry` lists the families of checkpoints that are read and
the pairs of backbone and library that are written.
"""

from simmim_mm.checkpoint.load import LoadReport
from simmim_mm.interop.converter import convert_checkpoint, load_converted
from simmim_mm.interop.export import Export, ExportError, Source, read_source
from simmim_mm.interop.exporter import (
    TOLERANCE,
    ExportReport,
    Verification,
    export_checkpoint,
    verify,
)
from simmim_mm.interop.family import Family
from simmim_mm.interop.keymap import Conversion, Rule
from simmim_mm.interop.libraries import TARGETS, check_output, snippet, write_export
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
    'ExportReport',
    'Family',
    'LoadReport',
    'Rule',
    'Source',
    'Verification',
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
    'snippet',
    'supports',
    'verify',
    'write_export',
]
