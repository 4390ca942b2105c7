from .crops import ResizeToCover, SimpleResizedCrop
from .foreground import BoxForeground, LoadForeground, PackInputs, SaliencyForeground
from .loading import LoadImage
from .masks import MaskTransform, RandomBlockMask
from .resizing import RandomResizedCrop, ResizeEdge

__all__ = [
    'BoxForeground',
    'LoadForeground',
    'LoadImage',
    'MaskTransform',
    'PackInputs',
    'RandomBlockMask',
    'RandomResizedCrop',
    'ResizeEdge',
    'ResizeToCover',
    'SaliencyForeground',
    'SimpleResizedCrop',
]
