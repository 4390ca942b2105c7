from collections.abc import Sequence

import torch
from mmengine.model import XavierInit
from mmpretrain.models.backbones.vision_transformer import VisionTransformer
from mmpretrain.models.utils import resize_pos_embed
from torch import Tensor, nn

from simmim_mm.masking import visible_ids
from simmim_mm.models.backbones.base import BaseMaskedBackbone, as_python_rates
from simmim_mm.models.backbones.cpu_attention import use_attention
from simmim_mm.models.backbones.position import sincos_position_embedding
from simmim_mm.models.backbones.units import UnitGroup, head_units, mlp_units, narrow
from simmim_mm.registry import MODELS


@MODELS.register_module()
class MaskedViT(BaseMaskedBackbone, VisionTransformer):
    """Plain ViT for masked images: with mask tokens (SimMIM) or of visible tokens only (MAE).

    Args:
        *args: Those of mmpretrain's ``VisionTransformer``, also by name: ``arch``, ``img_size``
            (``H`` or ``(H, W)``; the position embedding is interpolated for other inputs),
            ``patch_size``, ``in_channels``, ``with_cls_token``, ``drop_path_rate``, ...
        mask_mode: ``'token'``: a mask token replaces masked patch embeddings, all tokens are
            encoded. ``'gather'``: masked tokens are dropped before the first block (MAE, arXiv
            2111.06377, section 3), which at ratio 0.75 leaves about a quarter of the work.
        frozen_pos_embed: Fixed 2-D sine-cosine position embedding instead of a learned one; by
            default in gather mode.
        out_type: ``'featmap'``: without a mask, maps ``(B, C, H / 16, W / 16)``.
        num_heads: Of each block, fewer than in ``arch``, of the same width each: of a pruned ViT.
        mlp_widths: Hidden channels of each block, if it was pruned.
    """

    def __init__(
        self,
        *args,
        mask_mode: str = 'token',
        frozen_pos_embed: bool | None = None,
        out_type: str = 'featmap',
        num_heads: Sequence[int] | None = None,
        mlp_widths: Sequence[int] | None = None,
        **kwargs,
    ) -> None:
        if mask_mode not in ('token', 'gather'):
            raise ValueError(f"mask_mode must be 'token' or 'gather', got {mask_mode!r}")
        super().__init__(*args, out_type=out_type, **kwargs)
        as_python_rates(self)
        use_attention(self)
        narrow(self, num_heads=num_heads, mlp_widths=mlp_widths)
        self.mask_mode = mask_mode
        self.token_stride = self.patch_embed.projection.stride[0]
        self.out_channels = (self.embed_dims,) * len(self.out_indices)
        self.out_strides = (self.token_stride,) * len(self.out_indices)
        self.frozen_pos_embed = (
            mask_mode == 'gather' if frozen_pos_embed is None else frozen_pos_embed
        )
        if mask_mode == 'token':
            self.mask_token = nn.Parameter(torch.zeros(1, 1, self.embed_dims))
        if self.frozen_pos_embed:
            self.pos_embed.requires_grad_(False)
            self._set_sincos()

    def _set_sincos(self) -> None:
        grid, extra = self.patch_resolution, self.num_extra_tokens
        self.pos_embed.data.copy_(sincos_position_embedding(grid, self.embed_dims, extra))

    def reset_weights(self) -> None:
        """MAE's initialization: Xavier-uniform layers, the patch embedding as a linear one."""
        XavierInit(layer='Linear', distribution='uniform')(self)
        nn.init.xavier_uniform_(self.patch_embed.projection.weight.flatten(1))
        if self.cls_token is not None:
            nn.init.normal_(self.cls_token, std=0.02)
        if self.mask_mode == 'token':
            nn.init.trunc_normal_(self.mask_token, std=0.02)
        if self.frozen_pos_embed:
            self._set_sincos()

    def unit_groups(self) -> list[UnitGroup]:
        """Heads and hidden channels of each block."""
        groups = []
        for i in range(len(self.layers)):
            groups.append(head_units(self, (i,), f'layers.{i}.attn'))
            layers = f'layers.{i}.ffn.layers'
            groups.append(mlp_units(self, (i,), f'{layers}.0.0', f'{layers}.1'))
        return groups

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """Encode; the output of the last block is normalized."""
        B, ids = x.shape[0], None
        if mask is not None:
            mask = self.token_mask(mask, x)
        x, grid = self.patch_embed(x)

        # masked patches become the mask token, which gets a position like any token
        if mask is not None and self.mask_mode == 'gather':
            ids = visible_ids(mask)
        elif mask is not None:
            x = self.replace_masked(x, mask)
        extra = self.num_extra_tokens
        pos_embed = resize_pos_embed(
            self.pos_embed, self.patch_resolution, grid, self.interpolate_mode, extra
        )
        x = x + pos_embed[:, extra:]

        # or only the visible tokens go on
        if ids is not None:
            x = x.gather(1, ids.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
        if self.cls_token is not None:
            cls_token = self.cls_token + pos_embed[:, :1]
            x = torch.cat((cls_token.expand(B, -1, -1).to(x.dtype), x), dim=1)
        x = self.pre_norm(self.drop_after_pos(x))

        outs = []
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i == len(self.layers) - 1 and self.final_norm:
                x = self.ln1(x)
            if i in self.out_indices:
                outs.append(self._format_output(x, grid) if ids is None else x)
        return tuple(outs)
