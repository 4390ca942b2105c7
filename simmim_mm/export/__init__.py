"""Our backbones in the architectures and key names of other libraries."""

from .export import Export, ExportError
from .pairs import TARGETS, export_backbone, supports
from .source import Source, read_source
from .verify import TOLERANCE, verify
from .writing import check_output, write_export

__all__ = [
    'TARGETS',
    'TOLERANCE',
    'Export',
    'ExportError',
    'Source',
    'check_output',
    'export_backbone',
    'read_source',
    'supports',
    'verify',
    'write_export',
]
