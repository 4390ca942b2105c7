import math

import torch
from mmpretrain.models.backbones import ResNet
from torch import nn

from simmim_mm.models.backbones.masked_adapter import MaskedByHook
from simmim_mm.registry import MODELS


@MODELS.register_module()
class MaskedResNet(MaskedByHook, ResNet):
    """ResNet with a mask token after the stem (SimMIM, appendix E).

    The stem's convolution and pooling overlap: a visible token would see up to 5 pixels of a masked
    neighbor. So the pixels under the mask become 0, the mean, before the stem, and what the stem
    makes of them becomes the mask token. Further stages spread visible features into the masked
    area as they do anywhere.

    BatchNorm learns the statistics of masked images, mask tokens included. Fine-tuning with
    BatchNorm in training mode, mmpretrain's default, adapts them. Where it is frozen
    (``norm_eval=True``, as in mmdet's configs), train without ``norm_eval``, or pretrain with
    ``norm_cfg=dict(type='GN', num_groups=32)``, which has no such statistics.

    Takes the arguments of mmpretrain's ``ResNet``: ``depth``, ``in_channels``, ``base_channels``,
    ``deep_stem``, ``out_indices``, ...
    """

    token_modules = ('maxpool',)  # the end of the stem

    def _measure(self, embed: nn.Module) -> None:
        self.token_stride, width = 4, self.base_channels * self.expansion
        self.mask_token = nn.Parameter(torch.zeros(1, 1, self.stem_channels))
        self.out_channels = tuple(width * 2**i for i in self.out_indices)
        self.out_strides = tuple(4 * math.prod(self.strides[: i + 1]) for i in self.out_indices)
