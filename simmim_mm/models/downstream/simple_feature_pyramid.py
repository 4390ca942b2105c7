from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule, build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from simmim_mm.registry import MODELS


@MODELS.register_module()
class SimpleFeaturePyramid(BaseModule):
    """The pyramid of ViTDet (arXiv 2203.16527, section 3): all levels from the last map of a ViT.

    Finer levels come by transposed convolutions, the coarser one by pooling, and each is brought to
    ``out_channels`` by a 1x1 and a 3x3 convolution, with layer norms.

    Args:
        in_channels: Of the map.
        out_channels: Of every level.
        scales: Sides of the levels over those of the map, powers of 2: 4 to 0.5 of a map of stride
            16 are strides 4, 8, 16 and 32.
        num_outs: Levels in all; those beyond ``scales`` are the last one subsampled by 2.
        norm_cfg: Of the convolutions.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 256,
        scales: Sequence[float] = (4, 2, 1, 0.5),
        num_outs: int = 5,
        norm_cfg: dict = dict(type='mmpretrain.LN2d', eps=1e-6),
        init_cfg=None,
    ) -> None:
        super().__init__(init_cfg)
        if num_outs < len(scales):
            raise ValueError(f'num_outs={num_outs} is less than the {len(scales)} scales')
        self.num_extra = num_outs - len(scales)
        conv: dict[str, Any] = dict(norm_cfg=norm_cfg, act_cfg=None)
        self.levels = nn.ModuleList()
        for scale in scales:
            layers, channels = self._resample(in_channels, scale, norm_cfg)
            layers.append(ConvModule(channels, out_channels, 1, **conv))
            layers.append(ConvModule(out_channels, out_channels, 3, padding=1, **conv))
            self.levels.append(nn.Sequential(*layers))

    @staticmethod
    def _resample(channels: int, scale: float, norm_cfg: dict) -> tuple[list[nn.Module], int]:
        """Layers that bring the map to a scale, and the channels that they leave."""
        layers: list[nn.Module] = []
        while scale < 1:
            layers.append(nn.MaxPool2d(2))
            scale *= 2
        while scale > 1:
            if layers:
                layers += [build_norm_layer(norm_cfg, channels)[1], nn.GELU()]
            layers.append(nn.ConvTranspose2d(channels, channels // 2, 2, stride=2))
            channels //= 2
            scale /= 2
        if scale != 1:
            raise ValueError('scales of a SimpleFeaturePyramid are powers of 2')
        return layers, channels

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The backbone's maps, of which the last counts, to ``num_outs`` levels, finest first."""
        outs = [level(inputs[-1]) for level in self.levels]
        for _ in range(self.num_extra):
            outs.append(F.max_pool2d(outs[-1], 1, stride=2))
        return tuple(outs)
