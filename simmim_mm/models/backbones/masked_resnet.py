import math
from collections.abc import Sequence

import torch
from mmpretrain.models.backbones import ResNet
from torch import nn

from simmim_mm.models.backbones.masked_adapter import MaskedByHook
from simmim_mm.models.backbones.units import Part, UnitGroup, group_of, narrow
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

    Args:
        *args: Those of mmpretrain's ``ResNet``, also by name: ``depth``, ``in_channels``,
            ``base_channels``, ``deep_stem``, ``out_indices``, ...
        block_widths: Channels between the convolutions of each block of each stage, if it was
            pruned: ``[[(56, 48), (64, 40), (64, 64)], ...]``; one number where a block has two
            convolutions.
    """

    token_modules = ('maxpool',)  # the end of the stem

    def __init__(
        self, *args, block_widths: Sequence[Sequence[Sequence[int]]] | None = None, **kwargs
    ) -> None:
        super().__init__(*args, **kwargs)
        narrow(self, block_widths=block_widths)

    def unit_groups(self) -> list[UnitGroup]:
        """Channels between the convolutions of each block; under a GroupNorm, whole groups."""
        groups = []
        for s, stage in enumerate(self.res_layers):
            for b, block in enumerate(getattr(self, stage)):
                path, convolutions = f'{stage}.{b}', 3 if hasattr(block, 'conv3') else 2
                for i in range(1, convolutions):
                    norm_name = getattr(block, f'norm{i}_name')
                    norm = getattr(block, norm_name)
                    channels = len(norm.weight)
                    count = getattr(norm, 'num_groups', channels)
                    tensors = 'weight', 'bias', 'running_mean', 'running_var'
                    parts = [Part(f'{path}.conv{i}.weight')]
                    parts += [Part(f'{path}.{norm_name}.{tensor}') for tensor in tensors]
                    parts.append(Part(f'{path}.conv{i + 1}.weight', 1))
                    # CPUs with AVX-512 compute convolutions in blocks of 16 channels
                    more = dict(size=channels // count, step=16)
                    place = s, b, i - 1
                    groups.append(group_of(self, 'block_widths', place, count, parts, **more))
        return groups

    def _measure(self, embed: nn.Module) -> None:
        self.token_stride, width = 4, self.base_channels * self.expansion
        self.mask_token = nn.Parameter(torch.zeros(1, 1, self.stem_channels))
        self.out_channels = tuple(width * 2**i for i in self.out_indices)
        self.out_strides = tuple(4 * math.prod(self.strides[: i + 1]) for i in self.out_indices)
