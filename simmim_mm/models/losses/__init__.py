from simmim_mm._renamed import old_names
from simmim_mm.models.losses.base import PixelLoss
from simmim_mm.models.losses.color_bins import ColorBins
from simmim_mm.models.losses.gaussian_likelihood import GaussianLikelihood
from simmim_mm.models.losses.masked_pixel_loss import MaskedPixelLoss
from simmim_mm.models.losses.pixel_cross_entropy import PixelCrossEntropy

__all__ = [
    'ColorBins',
    'GaussianLikelihood',
    'MaskedPixelLoss',
    'PixelCrossEntropy',
    'PixelLoss',
]

__getattr__ = old_names(__name__, ColourBins='ColorBins')
