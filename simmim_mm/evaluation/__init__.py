from simmim_mm.evaluation.foreground_iou import ForegroundIoU
from simmim_mm.evaluation.masked_loss import MaskedLoss

__all__ = ['ForegroundIoU', 'MaskedLoss']
