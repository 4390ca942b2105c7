from .masked_adapter import build_masked_backbone
from .masked_beit import MaskedBEiT
from .masked_conv_vit import MaskedConvViT
from .masked_convnext import MaskedConvNeXt
from .masked_resnet import MaskedResNet
from .masked_swin import MaskedSwin
from .masked_swin_v2 import MaskedSwinV2
from .masked_vit import MaskedViT
from .windowed_vit import WindowedViT

__all__ = [
    'MaskedBEiT',
    'MaskedConvNeXt',
    'MaskedConvViT',
    'MaskedResNet',
    'MaskedSwin',
    'MaskedSwinV2',
    'MaskedViT',
    'WindowedViT',
    'build_masked_backbone',
]
