import math

import torch
from mmpretrain.models.backbones.beit import BEiTViT
from torch import Tensor, nn

from simmim_mm.masking import replace_masked
from simmim_mm.models.backbones.base import BaseMaskedBackbone
from simmim_mm.registry import MODELS


@MODELS.register_module()
class MaskedBEiT(BaseMaskedBackbone, BEiTViT):
    """The ViT of SimMIM: BEiT's form, with a mask token.

    No absolute position embedding but one table of relative position biases shared by all blocks,
    layer scale, a class token that is put in front and dropped from the output. To fine-tune as
    the authors do, build it with ``use_rel_pos_bias=True, use_shared_rel_pos_bias=False``: loading
    pretrained weights then copies the shared table to every block.

    Stochastic depth is applied once per branch, as the authors do; mmpretrain's block applies it
    twice to the MLP.

    Args:
        *args: Those of ``BEiTViT``: ``arch``, ``img_size`` (the position bias is built for its
            token grid), ``patch_size``, ``in_channels``, ``drop_path_rate``, ...
        final_norm: Normalize the last feature map.
        out_type: ``'featmap'``: maps ``(B, C, H / 16, W / 16)``.
        use_rel_pos_bias: A table in each block instead.
        use_shared_rel_pos_bias: One table for all blocks.
        **kwargs: See ``args``.
    """

    def __init__(
        self,
        *args,
        final_norm: bool = True,
        out_type: str = 'featmap',
        use_rel_pos_bias: bool = False,
        use_shared_rel_pos_bias: bool = True,
        layer_cfgs: dict | None = None,
        **kwargs,
    ) -> None:
        once = dict(ffn_cfg=dict(add_identity=False, dropout_layer=None))
        super().__init__(
            *args,
            final_norm=final_norm,
            out_type=out_type,
            use_rel_pos_bias=use_rel_pos_bias,
            use_shared_rel_pos_bias=use_shared_rel_pos_bias,
            layer_cfgs=once if layer_cfgs is None else layer_cfgs,
            **kwargs,
        )
        self.mask_token = nn.Parameter(torch.zeros(1, 1, self.embed_dims))
        self.token_stride = self.patch_embed.projection.stride[0]
        self.out_channels = (self.embed_dims,) * len(self.out_indices)
        self.out_strides = (self.token_stride,) * len(self.out_indices)

    def reset_weights(self) -> None:
        """The authors' initialization: normal, cut at one standard deviation, rescaled by depth."""
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                _trunc_normal(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for token in (self.cls_token, self.mask_token, self.pos_embed):
            if token is not None:
                _trunc_normal(token)
        with torch.no_grad():
            for depth, layer in enumerate(self.layers, start=1):
                layer.attn.proj.weight.div_(math.sqrt(2 * depth))
                layer.ffn.layers[1].weight.div_(math.sqrt(2 * depth))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """Encode all tokens.

        Args:
            x: ``(B, C, H, W)``, of the size that the position bias is built for.
            mask: ``(B, H / 16, W / 16)`` boolean or on a coarser grid, True = masked; None masks
                nothing.

        Returns:
            The maps of ``out_indices``, ``(B, C, H / 16, W / 16)``, without the class token.

        Raises:
            ValueError: If the images have another size than the model or the mask does not fit.
        """
        B, _, H, W = x.shape
        if mask is not None:
            mask = self.token_mask(mask, x)
        x, grid = self.patch_embed(x)
        if tuple(grid) != tuple(self.patch_resolution):
            s = self.token_stride
            raise ValueError(
                f'images of {H}x{W} pixels, but the relative position bias is built for '
                f'{self.patch_resolution[0] * s}x{self.patch_resolution[1] * s}: resize them, or '
                f'build the model with img_size=({H}, {W}), which resizes the table on loading'
            )

        # masked patches become the mask token, before the class token is put in front
        if mask is not None:
            x = replace_masked(x, mask, self.mask_token)
        if self.cls_token is not None:
            x = torch.cat((self.cls_token.expand(B, -1, -1).to(x.dtype), x), dim=1)
        if self.pos_embed is not None:
            x = x + self.pos_embed
        x = self.drop_after_pos(x)

        bias = self.rel_pos_bias() if self.rel_pos_bias is not None else None
        outs = []
        for i, layer in enumerate(self.layers):
            x = layer(x, bias)
            if i == len(self.layers) - 1 and self.final_norm:
                x = self.ln1(x)
            if i in self.out_indices:
                outs.append(self._format_output(x, grid))
        return tuple(outs)


def _trunc_normal(tensor: Tensor, std: float = 0.02) -> None:
    nn.init.trunc_normal_(tensor, std=std, a=-std, b=std)
