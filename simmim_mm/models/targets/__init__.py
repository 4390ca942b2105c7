from .base import TargetGenerator, TargetSequence
from .local_norm import LocalNorm
from .norm_pix import NormPix

__all__ = ['LocalNorm', 'NormPix', 'TargetGenerator', 'TargetSequence']
