from .foreground_iou import ForegroundIoU
from .masked_loss import MaskedLoss

__all__ = ['ForegroundIoU', 'MaskedLoss']
