from torch import nn

from simmim_mm.models.necks.pixel_shuffle_decoder import PixelShuffleDecoder
from simmim_mm.registry import MODELS


@MODELS.register_module()
class MLPDecoder(PixelShuffleDecoder):
    """SimMIM's prediction head of two layers (table 2): a hidden one with GELU before the last.

    Args:
        in_channels: Channels of the last feature map.
        stride: Pixels per position of that map.
        out_channels: Channels to predict.
        hidden_channels: Width of the hidden layer; by default ``in_channels``, which for Swin-B
            makes the paper's 1.0 million parameters more than the linear head has.
    """

    def __init__(
        self,
        in_channels: int,
        stride: int,
        out_channels: int = 3,
        hidden_channels: int | None = None,
        init_cfg=None,
    ) -> None:
        hidden_channels = hidden_channels or in_channels
        super().__init__(hidden_channels, stride, out_channels, init_cfg)
        hidden = nn.Conv2d(in_channels, hidden_channels, 1), nn.GELU()
        self.decoder = nn.Sequential(*hidden, *self.decoder)
