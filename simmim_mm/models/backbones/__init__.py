from .masked_conv_vit import MaskedConvViT

__all__ = ['MaskedConvViT']
