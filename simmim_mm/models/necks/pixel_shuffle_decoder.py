from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from simmim_mm.registry import MODELS


@MODELS.register_module()
class PixelShuffleDecoder(BaseModule):
    """SimMIM's one-layer prediction head: a 1x1 convolution to pixels (section 3.3, table 2).

    Every position of the last feature map predicts its ``stride x stride`` pixels.

    Args:
        in_channels: Channels of the last feature map.
        stride: Pixels per position of that map (32 for Swin, 16 for ViT/16).
        out_channels: Channels to predict: the image's, unless target or loss differ.
    """

    mask_mode = 'token'

    def __init__(self, in_channels: int, stride: int, out_channels: int = 3, init_cfg=None) -> None:
        super().__init__(init_cfg)
        self.out_channels = out_channels
        self.decoder = nn.Sequential(
            nn.Conv2d(in_channels, stride**2 * out_channels, 1), nn.PixelShuffle(stride)
        )

    def forward(self, feats: Sequence[Tensor], mask: Tensor) -> Tensor:
        """Decode the last of ``feats``, ``(B, C, h, w)``, to ``(B, out_channels, H, W)``.

        The mask is not needed: mask tokens stand in the features already.
        """
        return self.decoder(feats[-1])
