from .base import PixelLoss
from .colour_bins import ColourBins
from .gaussian_likelihood import GaussianLikelihood
from .masked_pixel_loss import MaskedPixelLoss
from .pixel_cross_entropy import PixelCrossEntropy

__all__ = [
    'ColourBins',
    'GaussianLikelihood',
    'MaskedPixelLoss',
    'PixelCrossEntropy',
    'PixelLoss',
]
