from simmim_mm._renamed import old_names
from simmim_mm.models.losses.color_bins import ColorBins
from simmim_mm.models.losses.gaussian_likelihood import GaussianLikelihood
from simmim_mm.models.losses.pixel_loss import MaskedPixelLoss, PixelCrossEntropy, PixelLoss

__all__ = ['ColorBins', 'GaussianLikelihood', 'MaskedPixelLoss', 'PixelCrossEntropy', 'PixelLoss']

__getattr__ = old_names(__name__)
