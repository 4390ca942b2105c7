from .inverse_swin_decoder import InverseSwinDecoder
from .mlp_decoder import MLPDecoder
from .pixel_shuffle_decoder import PixelShuffleDecoder
from .transformer_decoder import TransformerDecoder

__all__ = ['InverseSwinDecoder', 'MLPDecoder', 'PixelShuffleDecoder', 'TransformerDecoder']
