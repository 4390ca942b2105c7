from .pixel_shuffle_decoder import PixelShuffleDecoder
from .transformer_decoder import TransformerDecoder

__all__ = ['PixelShuffleDecoder', 'TransformerDecoder']
