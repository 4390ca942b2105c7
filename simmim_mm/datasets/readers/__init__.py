"""Formats of labels, each read in one place: COCO json, class folders, segmentation maps."""
