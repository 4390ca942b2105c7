"""Smaller models from pretrained ones, and what they cost."""

from simmim_mm.compression.operations import count_operations
from simmim_mm.compression.prune import PruneError, PruneReport, prune_checkpoint

__all__ = ['PruneError', 'PruneReport', 'count_operations', 'prune_checkpoint']
