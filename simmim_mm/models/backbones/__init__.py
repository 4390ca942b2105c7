from .masked_beit import MaskedBEiT
from .masked_conv_vit import MaskedConvViT
from .masked_swin import MaskedSwin
from .masked_swin_v2 import MaskedSwinV2
from .masked_vit import MaskedViT
from .windowed_vit import WindowedViT

__all__ = ['MaskedBEiT', 'MaskedConvViT', 'MaskedSwin', 'MaskedSwinV2', 'MaskedViT', 'WindowedViT']
