from collections.abc import Sequence

import torch
from mmpretrain.models.backbones import ConvNeXt
from torch import Tensor, nn

from simmim_mm.models.backbones.mask_token import check_mask, replace_masked_map
from simmim_mm.registry import MODELS


@MODELS.register_module()
class MaskedConvNeXt(ConvNeXt):
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
        self.mask_token = nn.Parameter(torch.zeros(1, 1, self.channels[0]))

    def init_weights(self) -> None:
        """mmpretrain's, and the mask token."""
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        super().init_weights()

    def train(self, mode: bool = True) -> 'MaskedConvNeXt':
        """As ``nn.Module.train``; mmpretrain's forgets to return the module."""
        super().train(mode)
        return self

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """Encode.

        Args:
            x: ``(B, C, H, W)``, of any size.
            mask: ``(B, H / 4, W / 4)`` boolean, True = masked; None masks nothing.

        Returns:
            Normalized maps of the stages ``out_indices``, ``(B, C_i, H / 2^(i+2), W / 2^(i+2))``;
            with ``gap_before_final_norm`` their means, ``(B, C_i)``.

        Raises:
            ValueError: If the mask is not on the token grid of the images.
        """
        outs = []
        for i, stage in enumerate(self.stages):
            x = self.downsample_layers[i](x)
            if i == 0 and mask is not None:
                check_mask(mask, len(x), tuple(x.shape[-2:]), self.token_stride)
                x = replace_masked_map(x, mask, self.mask_token)
            x = stage(x)
            if i in self.out_indices:
                norm = getattr(self, f'norm{i}')
                if self.gap_before_final_norm:
                    outs.append(norm(x.mean((-2, -1), keepdim=True)).flatten(1))
                else:
                    outs.append(norm(x))
        return tuple(outs)
