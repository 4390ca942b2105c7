from .masked_beit import MaskedBEiT
from .masked_conv_vit import MaskedConvViT

__all__ = ['MaskedBEiT', 'MaskedConvViT']
