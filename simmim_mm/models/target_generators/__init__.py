from simmim_mm.models.target_generators.base import TargetGenerator, TargetSequence
from simmim_mm.models.target_generators.hog import HOG
from simmim_mm.models.target_generators.local_norm import LocalNorm
from simmim_mm.models.target_generators.low_freq import LowFreq
from simmim_mm.models.target_generators.low_resolution import LowResolution
from simmim_mm.models.target_generators.norm_pix import NormPix
from simmim_mm.models.target_generators.unit_range import UnitRange

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
