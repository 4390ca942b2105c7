from simmim_mm.models.necks.inverse_swin_decoder import InverseSwinDecoder
from simmim_mm.models.necks.mlp_decoder import MLPDecoder
from simmim_mm.models.necks.pixel_shuffle_decoder import PixelShuffleDecoder
from simmim_mm.models.necks.transformer_decoder import TransformerDecoder

__all__ = ['InverseSwinDecoder', 'MLPDecoder', 'PixelShuffleDecoder', 'TransformerDecoder']
