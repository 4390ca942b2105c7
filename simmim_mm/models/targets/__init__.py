from .base import TargetGenerator, TargetSequence
from .hog import HOG
from .local_norm import LocalNorm
from .low_freq import LowFreq
from .low_resolution import LowResolution
from .norm_pix import NormPix
from .unit_range import UnitRange

__all__ = [
    'HOG',
    'LocalNorm',
    'LowFreq',
    'LowResolution',
    'NormPix',
    'TargetGenerator',
    'TargetSequence',
    'UnitRange',
]
