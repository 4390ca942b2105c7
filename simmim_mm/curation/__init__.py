"""Find what is wrong in a folder of images, and split it. Nothing here deletes a file."""

from simmim_mm.curation.annotations import inspect_coco
from simmim_mm.curation.cache import CachedFile, cache_folder
from simmim_mm.curation.duplicates import group_duplicates, near_pairs
from simmim_mm.curation.files import apply_plan, plan_files
from simmim_mm.curation.inspection import FAULTS, Inspection, inspect_file
from simmim_mm.curation.report import read_report, write_csv, write_html, write_lines
from simmim_mm.curation.scan import Scan, scan_folder
from simmim_mm.curation.shard import WrittenShards, check_shards, shard_folder
from simmim_mm.curation.split import join_groups, named_groups, split_groups
from simmim_mm.curation.stats import FolderStats, config_lines, folder_stats

__all__ = [
    'FAULTS',
    'CachedFile',
    'FolderStats',
    'Inspection',
    'Scan',
    'WrittenShards',
    'apply_plan',
    'cache_folder',
    'check_shards',
    'config_lines',
    'folder_stats',
    'group_duplicates',
    'inspect_coco',
    'inspect_file',
    'join_groups',
    'named_groups',
    'near_pairs',
    'plan_files',
    'read_report',
    'scan_folder',
    'shard_folder',
    'split_groups',
    'write_csv',
    'write_html',
    'write_lines',
]
