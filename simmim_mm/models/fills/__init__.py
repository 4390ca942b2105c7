from .base import Fill
from .constant import ConstantFill
from .mean import MeanFill
from .noise import NoiseFill

__all__ = ['ConstantFill', 'Fill', 'MeanFill', 'NoiseFill']
