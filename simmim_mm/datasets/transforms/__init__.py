from .crops import ResizeToCover, SimpleResizedCrop
from .foreground import BoxForeground, LoadForeground, PackInputs, SaliencyForeground
from .loading import LoadImage
from .masks import MaskTransform, RandomBlockMask, UniformMask
from .rectangle_masks import BlockWiseMask, RectangleMask, SquareMask
from .resizing import RandomResizedCrop, ResizeEdge
from .semantic_mask import SemanticMask
from .torchvision_transform import TorchvisionTransform

__all__ = [
    'BlockWiseMask',
    'BoxForeground',
    'LoadForeground',
    'LoadImage',
    'MaskTransform',
    'PackInputs',
    'RandomBlockMask',
    'RandomResizedCrop',
    'RectangleMask',
    'ResizeEdge',
    'ResizeToCover',
    'SaliencyForeground',
    'SemanticMask',
    'SimpleResizedCrop',
    'SquareMask',
    'TorchvisionTransform',
    'UniformMask',
]
