from .masked_pixel_loss import MaskedPixelLoss

__all__ = ['MaskedPixelLoss']
