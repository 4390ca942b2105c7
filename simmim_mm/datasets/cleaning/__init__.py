"""Find what is wrong in a folder of images, and split it. Nothing here deletes a file."""

from .files import apply_plan, plan_files
from .inspection import FAULTS, Inspection, inspect_file
from .report import read_report, write_csv, write_html, write_lines
from .scanning import Scan, scan_folder
from .similarity import group_duplicates, near_pairs
from .splitting import split_groups

__all__ = [
    'FAULTS',
    'Inspection',
    'Scan',
    'apply_plan',
    'group_duplicates',
    'inspect_file',
    'near_pairs',
    'plan_files',
    'read_report',
    'scan_folder',
    'split_groups',
    'write_csv',
    'write_html',
    'write_lines',
]
