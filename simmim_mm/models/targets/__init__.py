from .base import TargetGenerator, TargetSequence
from .local_norm import LocalNorm
from .low_freq import LowFreq
from .norm_pix import NormPix

__all__ = ['LocalNorm', 'LowFreq', 'NormPix', 'TargetGenerator', 'TargetSequence']
