from .masked_beit import MaskedBEiT
from .masked_conv_vit import MaskedConvViT
from .masked_vit import MaskedViT

__all__ = ['MaskedBEiT', 'MaskedConvViT', 'MaskedViT']
