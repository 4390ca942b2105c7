"""Formats of labels, each read in one place: COCO json, class folders, segmentation maps."""

from simmim_mm.datasets.readers.class_folders import (
    ClassFolders,
    check_class_folders,
    load_class_folders,
)
from simmim_mm.datasets.readers.coco import CocoFile, load_coco
from simmim_mm.datasets.readers.segmentation_maps import load_segmentation_map

__all__ = [
    'ClassFolders',
    'CocoFile',
    'check_class_folders',
    'load_class_folders',
    'load_coco',
    'load_segmentation_map',
]
