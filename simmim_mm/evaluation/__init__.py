from simmim_mm.evaluation.foreground_iou import ForegroundIoU
from simmim_mm.evaluation.masked_loss import MaskedLoss
from simmim_mm.evaluation.shape_bias import ShapeBias
from simmim_mm.evaluation.subset_accuracy import SubsetAccuracy

__all__ = ['ForegroundIoU', 'MaskedLoss', 'ShapeBias', 'SubsetAccuracy']
