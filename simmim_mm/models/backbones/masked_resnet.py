import math

import torch
from mmpretrain.models.backbones import ResNet
from torch import Tensor, nn

from simmim_mm.masking import replace_masked, zero_masked_pixels
from simmim_mm.models.backbones.base import BaseMaskedBackbone
from simmim_mm.registry import MODELS


@MODELS.register_module()
class MaskedResNet(BaseMaskedBackbone, ResNet):
    """ResNet with a mask token after the stem (SimMIM, appendix E).

    The stem's convolution and pooling overlap: a visible token would see up to 5 pixels of a masked
    neighbor. So the pixels under the mask become 0, the mean, before the stem, and what the stem
    makes of them becomes the mask token. Further stages spread visible features into the masked
    area as they do anywhere.

    BatchNorm learns the statistics of masked images, mask tokens included. Fine-tuning with
    BatchNorm in training mode, mmpretrain's default, adapts them. Where it is frozen
    (``norm_eval=True``, as in mmdet's configs), train without ``norm_eval``, or pretrain with
    ``norm_cfg=dict(type='GN', num_groups=32)``, which has no such statistics.

    Args:
        *args: Those of mmpretrain's ``ResNet``: ``depth``, ``in_channels``, ``base_channels``,
            ``deep_stem``, ``out_indices``, ...
        **kwargs: See ``args``.
    """

    token_stride = 4

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, self.stem_channels))
        width = self.base_channels * self.expansion
        self.out_channels = tuple(width * 2**i for i in self.out_indices)
        self.out_strides = tuple(4 * math.prod(self.strides[: i + 1]) for i in self.out_indices)

    def token_grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of tokens; the stem pads the image to whole tokens."""
        return -(-height // self.token_stride), -(-width // self.token_stride)

    def init_weights(self) -> None:
        """mmpretrain's, and the mask token."""
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        super().init_weights()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """Encode.

        Args:
            x: ``(B, C, H, W)``, of any size; with a mask, H and W are multiples of 4.
            mask: ``(B, H / 4, W / 4)`` boolean or on a coarser grid, True = masked; None masks
                nothing.

        Returns:
            Maps of the stages ``out_indices``, ``(B, C_i, H / 2^(i+2), W / 2^(i+2))``.

        Raises:
            ValueError: If the mask does not fit the images.
        """
        if mask is not None:
            mask = self.token_mask(mask, x)
            x = zero_masked_pixels(x, mask)
        x = self.stem(x) if self.deep_stem else self.relu(self.norm1(self.conv1(x)))
        x = self.maxpool(x)
        if mask is not None:
            x = replace_masked(x, mask, self.mask_token)

        outs = []
        for i, name in enumerate(self.res_layers):
            x = getattr(self, name)(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)
