from simmim_mm.models.mask_fill.base import Fill
from simmim_mm.models.mask_fill.constant import ConstantFill
from simmim_mm.models.mask_fill.mean import MeanFill
from simmim_mm.models.mask_fill.noise import NoiseFill

__all__ = ['ConstantFill', 'Fill', 'MeanFill', 'NoiseFill']
