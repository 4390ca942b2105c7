from simmim_mm._renamed import old_names
from simmim_mm.models.algorithms.masked_image_model import MaskedImageModel

__all__ = ['MaskedImageModel']

__getattr__ = old_names(__name__)
