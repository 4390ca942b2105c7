from .base import TargetGenerator, TargetSequence
from .local_norm import LocalNorm

__all__ = ['LocalNorm', 'TargetGenerator', 'TargetSequence']
