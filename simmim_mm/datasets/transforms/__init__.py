from .crops import ResizeToCover, SimpleResizedCrop
from .loading import LoadImage
from .masks import MaskTransform, RandomBlockMask
from .resizing import RandomResizedCrop, ResizeEdge

__all__ = [
    'LoadImage',
    'MaskTransform',
    'RandomBlockMask',
    'RandomResizedCrop',
    'ResizeEdge',
    'ResizeToCover',
    'SimpleResizedCrop',
]
