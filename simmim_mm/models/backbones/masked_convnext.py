from collections.abc import Sequence

import torch
from mmpretrain.models.backbones import ConvNeXt
from torch import nn

from simmim_mm.models.backbones.masked_adapter import MaskedByHook
from simmim_mm.models.backbones.units import Part, UnitGroup, mlp_units, narrow
from simmim_mm.registry import MODELS


@MODELS.register_module()
class MaskedConvNeXt(MaskedByHook, ConvNeXt):
    """ConvNeXt, v1 or v2, with a mask token in the place of masked patches.

    The stem is a patch embedding, convolution and norm of whole patches, so that nothing of a
    masked patch is seen. The 7x7 convolutions of the blocks do see mask tokens, as attention does
    in a transformer.

    Args:
        *args: Those of mmpretrain's ``ConvNeXt``: ``arch``, ``in_channels``, ``stem_patch_size``
            (pixels per token), ``use_grn``, ...; also by name.
        out_indices: Stages whose maps are given, each normalized; -1 is the last one.
        gap_before_final_norm: True gives pooled vectors instead of maps, for a classifier.
        mlp_widths: Hidden channels of each block of each stage, if it was pruned.
    """

    token_modules = ('downsample_layers.0',)  # the stem

    def __init__(
        self,
        *args,
        out_indices: int | Sequence[int] = -1,
        gap_before_final_norm: bool = False,
        mlp_widths: Sequence[Sequence[int]] | None = None,
        **kwargs,
    ) -> None:
        # a list: mmpretrain's writes into it
        out_indices = [out_indices] if isinstance(out_indices, int) else list(out_indices)
        kwargs.update(out_indices=out_indices, gap_before_final_norm=gap_before_final_norm)
        super().__init__(*args, **kwargs)
        narrow(self, mlp_widths=mlp_widths)

    def unit_groups(self) -> list[UnitGroup]:
        """Hidden channels of each block."""
        groups = []
        for s, stage in enumerate(self.stages):
            for b in range(len(stage)):
                block = f'stages.{s}.{b}'
                layers = f'{block}.pointwise_conv1', f'{block}.pointwise_conv2'
                norm = Part(f'{block}.grn.gamma'), Part(f'{block}.grn.beta')  # of v2
                groups.append(mlp_units(self, (s, b), *layers, norm))
        return groups

    def _measure(self, embed: nn.Module) -> None:
        self.token_stride = self.downsample_layers[0][0].stride[0]
        self.mask_token = nn.Parameter(torch.zeros(1, 1, self.channels[0]))
        self.out_channels = tuple(self.channels[i] for i in self.out_indices)
        self.out_strides = tuple(self.token_stride * 2**i for i in self.out_indices)
