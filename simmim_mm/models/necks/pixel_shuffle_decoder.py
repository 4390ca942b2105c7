from abc import ABCMeta, abstractmethod
from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from simmim_mm.registry import MODELS


class BaseDecoder(BaseModule, metaclass=ABCMeta):
    """Base of the decoders: from the features of a masked image to the prediction.

    :class:`MaskedImageModel` fills in those of these arguments that ``__init__`` takes and the
    config leaves out: ``in_channels`` of the features, ``out_channels`` to predict, ``img_size``,
    height and width of the prediction, and ``stride``, the values to predict in each direction for
    one position of the features; in gather mode also ``patch_size``, the same, and
    ``with_cls_token``.

    Attributes:
        mask_mode: Mode of the backbones that it goes with, see :class:`BaseMaskedBackbone`.
        in_channels: Channels of the features.
        out_channels: Channels that it predicts.
    """

    mask_mode: str = 'token'
    in_channels: int | None = None
    out_channels: int

    @abstractmethod
    def forward(self, feats: Sequence[Tensor], mask: Tensor) -> Tensor:
        """From what the backbone returns under ``mask``, ``(B, h, w)``, to ``(B, C_out, H, W)``."""


@MODELS.register_module()
class PixelShuffleDecoder(BaseDecoder):
    """SimMIM's prediction head of one layer: a 1x1 convolution to pixels (section 3.3, table 2).

    Every position of the last feature map predicts its ``stride x stride`` pixels.

    Args:
        in_channels: Channels of the last feature map.
        stride: Pixels per position of that map (32 for Swin, 16 for ViT/16).
        out_channels: Channels to predict: the image's, unless target or loss differ.
    """

    def __init__(
        self,
        in_channels: int,
        stride: int,
        out_channels: int = 3,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.decoder = nn.Sequential(
            nn.Conv2d(in_channels, stride**2 * out_channels, 1), nn.PixelShuffle(stride)
        )

    def forward(self, feats: Sequence[Tensor], mask: Tensor) -> Tensor:
        """Decode the last of ``feats``; the mask is not needed, mask tokens stand in them."""
        return self.decoder(feats[-1])


@MODELS.register_module()
class MLPDecoder(PixelShuffleDecoder):
    """SimMIM's prediction head of two layers (table 2): a hidden one with GELU before the last.

    Args:
        in_channels: As ``stride`` and ``out_channels``, see :class:`PixelShuffleDecoder`.
        hidden_channels: Width of the hidden layer; by default ``in_channels``, which for Swin-B
            makes the paper's 1.0 million parameters more than the linear head has.
    """

    def __init__(
        self,
        in_channels: int,
        stride: int,
        out_channels: int = 3,
        hidden_channels: int | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        hidden_channels = hidden_channels or in_channels
        super().__init__(hidden_channels, stride, out_channels, init_cfg)
        hidden = nn.Conv2d(in_channels, hidden_channels, 1), nn.GELU()
        self.decoder = nn.Sequential(*hidden, *self.decoder)
        self.in_channels = in_channels
