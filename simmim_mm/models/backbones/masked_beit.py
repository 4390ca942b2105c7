import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmpretrain.models.backbones.beit import BEiTViT
from torch import Tensor, nn

from simmim_mm.models.backbones.base import BaseMaskedBackbone, as_python_rates
from simmim_mm.models.backbones.units import Part, UnitGroup, head_units, mlp_units, narrow
from simmim_mm.registry import MODELS


class BiasedAttention(BaseModule):
    """Takes the place of a ``BEiTAttention`` of mmpretrain, with its weights and their names.

    That one has as many channels in its heads as outside of them.
    """

    def __init__(self, attn: Any) -> None:
        super().__init__()
        self.bias, self.scale, self.num_heads = attn.bias, attn.scale, attn.num_heads
        self.use_rel_pos_bias, self.window_size = attn.use_rel_pos_bias, attn.window_size
        if attn.bias == 'qv_bias':
            self.q_bias, self.v_bias = attn.q_bias, attn.v_bias
        self.relative_position_bias_table = attn.relative_position_bias_table
        if attn.use_rel_pos_bias:
            self.register_buffer('relative_position_index', attn.relative_position_index)
        self.qkv, self.attn_drop = attn.qkv, attn.attn_drop
        self.proj, self.proj_drop = attn.proj, attn.proj_drop

    def forward(self, x: Tensor, rel_pos_bias: Tensor | None = None) -> Tensor:
        """``(B, N, C)`` to the same, with a bias ``(heads, N, N)`` beside the block's own."""
        bias = self.qkv.bias
        if self.bias == 'qv_bias':
            bias = torch.cat((self.q_bias, torch.zeros_like(self.v_bias), self.v_bias))
        qkv = F.linear(x, self.qkv.weight, bias).unflatten(2, (3, self.num_heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        logits = (q * self.scale) @ k.transpose(-2, -1)
        if self.use_rel_pos_bias:
            index: Any = self.relative_position_index
            own = self.relative_position_bias_table[index.flatten()].unflatten(0, index.shape)
            logits = logits + own.permute(2, 0, 1)
        if rel_pos_bias is not None:
            logits = logits + rel_pos_bias
        out = self.attn_drop(logits.softmax(-1)) @ v
        return self.proj_drop(self.proj(out.transpose(1, 2).flatten(2)))


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
        *args: Those of ``BEiTViT``, also by name: ``arch``, ``img_size`` (the position bias is
            built for its token grid), ``patch_size``, ... Other defaults have ``final_norm``
            (True), ``out_type`` (``'featmap'``), ``use_rel_pos_bias`` (a table in each block:
            False) and ``use_shared_rel_pos_bias`` (one table for all: True).
        layer_cfgs: Of the blocks, see there.
        num_heads: Of each block, fewer than in ``arch``, of the same width each: of a pruned
            network. They need a table in each block.
        mlp_widths: Hidden channels of each block, if it was pruned.
    """

    # What lets heads of single blocks be taken out: loading copies the shared table to each.
    pruned_arguments = dict(use_rel_pos_bias=True, use_shared_rel_pos_bias=False)

    def __init__(
        self,
        *args,
        layer_cfgs: dict | None = None,
        num_heads: Sequence[int] | None = None,
        mlp_widths: Sequence[int] | None = None,
        **kwargs,
    ) -> None:
        once = dict(ffn_cfg=dict(add_identity=False, dropout_layer=None))
        kwargs = dict(final_norm=True, out_type='featmap', use_shared_rel_pos_bias=True) | kwargs
        kwargs = dict(use_rel_pos_bias=False, layer_cfgs=layer_cfgs or once) | kwargs
        super().__init__(*args, **kwargs)
        as_python_rates(self)
        for layer in self.layers:
            layer.attn = BiasedAttention(layer.attn)
        narrow(self, num_heads=num_heads, mlp_widths=mlp_widths)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, self.embed_dims))
        self.token_stride = self.patch_embed.projection.stride[0]
        self.out_channels = (self.embed_dims,) * len(self.out_indices)
        self.out_strides = (self.token_stride,) * len(self.out_indices)

    def unit_groups(self) -> list[UnitGroup]:
        """Heads, unless blocks share a table, and hidden channels of each block."""
        groups, parts = [], (Part('q_bias'), Part('v_bias'))
        for i in range(len(self.layers)):
            if self.rel_pos_bias is None:
                table = Part('relative_position_bias_table', 1)
                groups.append(head_units(self, (i,), f'layers.{i}.attn', (*parts, table)))
            layers = f'layers.{i}.ffn.layers'
            groups.append(mlp_units(self, (i,), f'{layers}.0.0', f'{layers}.1'))
        return groups

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
        """Encode images of the size that the position bias is built for."""
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
            x = self.replace_masked(x, mask)
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
