"""Names and layouts of other code bases, in both directions."""

from simmim_mm.interop.export import Export, ExportError
from simmim_mm.interop.families import (
    convert,
    detect_family,
    families,
    get_family,
    infer_config,
    model_config,
    revert,
)
from simmim_mm.interop.load import LoadReport, load_converted
from simmim_mm.interop.pairs import TARGETS, export_backbone, supports
from simmim_mm.interop.rules import Conversion, Rule
from simmim_mm.interop.source import Source, read_source
from simmim_mm.interop.verify import TOLERANCE, verify
from simmim_mm.interop.writing import check_output, write_export

__all__ = [
    'TARGETS',
    'TOLERANCE',
    'Conversion',
    'Export',
    'ExportError',
    'LoadReport',
    'Rule',
    'Source',
    'check_output',
    'convert',
    'detect_family',
    'export_backbone',
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
