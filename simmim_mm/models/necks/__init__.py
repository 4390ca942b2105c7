from simmim_mm.models.necks.inverse_swin_decoder import InverseSwinDecoder
from simmim_mm.models.necks.pixel_shuffle_decoder import (
    BaseDecoder,
    MLPDecoder,
    PixelShuffleDecoder,
)
from simmim_mm.models.necks.transformer_decoder import TransformerDecoder

__all__ = [
    'BaseDecoder',
    'InverseSwinDecoder',
    'MLPDecoder',
    'PixelShuffleDecoder',
    'TransformerDecoder',
]
