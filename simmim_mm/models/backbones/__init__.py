from simmim_mm.models.backbones.base import BaseMaskedBackbone
from simmim_mm.models.backbones.masked_adapter import build_masked_backbone
from simmim_mm.models.backbones.masked_beit import MaskedBEiT
from simmim_mm.models.backbones.masked_conv_vit import MaskedConvViT
from simmim_mm.models.backbones.masked_convnext import MaskedConvNeXt
from simmim_mm.models.backbones.masked_resnet import MaskedResNet
from simmim_mm.models.backbones.masked_swin import MaskedSwin
from simmim_mm.models.backbones.masked_swin_v2 import MaskedSwinV2
from simmim_mm.models.backbones.masked_vit import MaskedViT
from simmim_mm.models.backbones.windowed_vit import WindowedViT

__all__ = [
    'BaseMaskedBackbone',
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
