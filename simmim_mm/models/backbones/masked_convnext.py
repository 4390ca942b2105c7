from collections.abc import Sequence

import torch
from mmpretrain.models.backbones import ConvNeXt
from torch import Tensor, nn

from simmim_mm.masking import replace_masked
from simmim_mm.models.backbones.base import BaseMaskedBackbone
from simmim_mm.registry import MODELS


@MODELS.register_module()
class MaskedConvNeXt(BaseMaskedBackbone, ConvNeXt):
    """ConvNeXt, v1 or v2, with a mask token in the place of masked patches.

    The stem is a patch embedding, convolution and norm of whole patches, so that nothing of a
    masked patch is seen. The 7x7 convolutions of the blocks do see mask tokens, as attention does
    in a transformer.

    Args:
        *args: Those of mmpretrain's ``ConvNeXt``: ``arch``, ``in_channels``, ``stem_patch_size``
            (pixels per token), ``use_grn``, ...
        out_indices: Stages whose maps are given, each normalized; -1 is the last one.
        gap_before_final_norm: True gives pooled vectors instead of maps, for a classifier.
        **kwargs: See ``args``.
    """

    def __init__(
        self,
        *args,
        out_indices: int | Sequence[int] = -1,
        gap_before_final_norm: bool = False,
        **kwargs,
    ) -> None:
        # a list: mmpretrain's writes into it
        out_indices = [out_indices] if isinstance(out_indices, int) else list(out_indices)
        super().__init__(
            *args, out_indices=out_indices, gap_before_final_norm=gap_before_final_norm, **kwargs
        )
        self.token_stride = self.downsample_layers[0][0].stride[0]
        self.out_channels = tuple(self.channels[i] for i in self.out_indices)
        self.out_strides = tuple(self.token_stride * 2**i for i in self.out_indices)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, self.channels[0]))

    def init_weights(self) -> None:
        """mmpretrain's, and the mask token."""
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        super().init_weights()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """Encode.

        Args:
            x: ``(B, C, H, W)``, of any size.
            mask: ``(B, H / 4, W / 4)`` boolean or on a coarser grid, True = masked; None masks
                nothing.

        Returns:
            Normalized maps of the stages ``out_indices``, ``(B, C_i, H / 2^(i+2), W / 2^(i+2))``;
            with ``gap_before_final_norm`` their means, ``(B, C_i)``.

        Raises:
            ValueError: If the mask does not fit the images.
        """
        if mask is not None:
            mask = self.token_mask(mask, x)
        outs = []
        for i, stage in enumerate(self.stages):
            x = self.downsample_layers[i](x)
            if i == 0 and mask is not None:
                x = replace_masked(x, mask, self.mask_token)
            x = stage(x)
            if i in self.out_indices:
                norm = getattr(self, f'norm{i}')
                if self.gap_before_final_norm:
                    outs.append(norm(x.mean((-2, -1), keepdim=True)).flatten(1))
                else:
                    outs.append(norm(x))
        return tuple(outs)
