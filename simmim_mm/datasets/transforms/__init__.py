from simmim_mm.datasets.transforms.corrupt import Corrupt
from simmim_mm.datasets.transforms.crops import ResizeToCover, SimpleResizedCrop
from simmim_mm.datasets.transforms.foreground import (
    BoxForeground,
    LoadForeground,
    PackInputs,
    SaliencyForeground,
)
from simmim_mm.datasets.transforms.loading import LoadImage
from simmim_mm.datasets.transforms.masks import MaskTransform, RandomBlockMask, UniformMask
from simmim_mm.datasets.transforms.rectangle_masks import BlockWiseMask, RectangleMask, SquareMask
from simmim_mm.datasets.transforms.resizing import RandomResizedCrop, ResizeEdge
from simmim_mm.datasets.transforms.segmentation_map import LoadSegmentationMap
from simmim_mm.datasets.transforms.semantic_mask import SemanticMask
from simmim_mm.datasets.transforms.torchvision_transform import TorchvisionTransform

__all__ = [
    'BlockWiseMask',
    'BoxForeground',
    'Corrupt',
    'LoadForeground',
    'LoadImage',
    'LoadSegmentationMap',
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
