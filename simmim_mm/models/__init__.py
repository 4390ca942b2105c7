"""Models of simmim_mm; import from the subpackages.

Nothing is imported here, so that a detector or segmenter that uses one of the backbones does not
load the pretraining side (algorithms, necks, heads, targets).
"""
