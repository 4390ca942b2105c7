"""Plain ViT for large images: attention within windows, and in a few blocks everywhere (ViTDet)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmpretrain.models.utils import MultiheadAttention
from torch import Tensor

from simmim_mm.models.backbones.cpu_attention import attention
from simmim_mm.models.backbones.masked_vit import MaskedViT
from simmim_mm.registry import MODELS


class WindowedAttention(BaseModule):
    """Takes the place of a ``MultiheadAttention`` of mmpretrain, with its weights and their names.

    The map is divided into the fewest windows of at most ``window_size`` tokens a side, all of one
    size; what is missing of the last ones is padded and left out of the attention. Extra tokens
    (the class token), in front of the map, take part in every window and go on as the mean of what
    they become there, so that a map of one window gives plain attention.
    """

    def __init__(self, attn: MultiheadAttention, window_size: int, num_extra_tokens: int) -> None:
        super().__init__()
        self.qkv, self.proj = attn.qkv, attn.proj
        self.proj_drop, self.gamma1, self.out_drop = attn.proj_drop, attn.gamma1, attn.out_drop
        self.num_heads, self.attn_drop = attn.num_heads, attn.attn_drop
        self.window_size, self.num_extra_tokens = window_size, num_extra_tokens
        self.grid: tuple[int, int] = (0, 0)  # of the images at hand; the backbone sets it

    def forward(self, x: Tensor) -> Tensor:
        """``(B, extra + h * w, C)`` tokens to the same, without the shortcut."""
        B, C = x.shape[0], self.proj.in_features
        h, w = self.grid
        rows, cols = -(-h // self.window_size), -(-w // self.window_size)
        a, b = -(-h // rows), -(-w // cols)  # of a window
        pad = (0, 0, 0, cols * b - w, 0, rows * a - h)
        extra = self.num_extra_tokens

        def windows(x: Tensor) -> Tensor:
            """``(N, h * w, D)`` to ``(N, rows * cols, a * b, D)``."""
            x = F.pad(x.unflatten(1, (h, w)), pad)
            x = x.unflatten(2, (cols, b)).unflatten(1, (rows, a))
            return x.transpose(2, 3).reshape(x.shape[0], rows * cols, a * b, -1)

        # each window with a copy of the extra tokens in front
        qkv = self.qkv(x)
        copies = qkv[:, None, :extra].expand(-1, rows * cols, -1, -1)
        qkv = torch.cat((copies, windows(qkv[:, extra:])), dim=2).flatten(0, 1)
        qkv = qkv.unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        keys = None
        if any(pad):
            real = F.pad(windows(x.new_ones(1, h * w, 1))[..., 0], (extra, 0), value=1) > 0
            keys = real.expand(B, -1, -1).flatten(0, 1)[:, None, None]
        dropout = self.attn_drop if self.training else 0.0
        out = attention(*qkv, attn_mask=keys, dropout_p=dropout)

        # and back to one map
        out = out.transpose(1, 2).flatten(2).unflatten(0, (B, -1))
        tokens = out[:, :, extra:].unflatten(2, (a, b)).unflatten(1, (rows, cols))
        tokens = tokens.transpose(2, 3).reshape(B, rows * a, cols * b, C)[:, :h, :w]
        x = torch.cat((out[:, :, :extra].mean(1), tokens.flatten(1, 2)), dim=1)
        return self.out_drop(self.gamma1(self.proj_drop(self.proj(x))))


@MODELS.register_module()
class WindowedViT(MaskedViT):
    """ViT for detection (ViTDet, arXiv 2203.16527, section 3): most blocks attend within windows.

    Weights and their names are those of ``MaskedViT`` and mmpretrain's ``VisionTransformer``, so
    that a pretrained checkpoint loads as it is. On images that one window covers, the features are
    those of ``MaskedViT``. The class token is kept, which the authors drop: pretraining gave it a
    part in the attention. Relative positions, which they add, are left out: no pretraining of this
    package has them.

    Args:
        *args: Those of ``MaskedViT``, also by name; ``mask_mode`` makes no difference but for the
            key ``mask_token``.
        window_size: Tokens a side, at most.
        global_blocks: Blocks that attend to the whole image; by default the last of each quarter.
        frozen_pos_embed: Keep the position embedding fixed; by default it is trained.
    """

    def __init__(
        self,
        *args,
        window_size: int = 14,
        global_blocks: Sequence[int] | None = None,
        mask_mode: str = 'gather',
        frozen_pos_embed: bool = False,
        **kwargs,
    ) -> None:
        super().__init__(*args, mask_mode=mask_mode, frozen_pos_embed=frozen_pos_embed, **kwargs)
        depth = len(self.layers)
        if global_blocks is None:
            global_blocks = [depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4)]
        wrong = [i for i in global_blocks if not -1 <= i < depth]
        if wrong:
            raise ValueError(f'global_blocks names {wrong}, but there are blocks 0 to {depth - 1}')
        for i, layer in enumerate(self.layers):
            if i not in global_blocks:
                layer.attn = WindowedAttention(layer.attn, window_size, self.num_extra_tokens)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """Encode whole images: windows are for what comes after pretraining."""
        if mask is not None:
            raise ValueError(
                'WindowedViT takes no mask: pretrain with MaskedViT, its keys are equal'
            )
        grid = self.token_grid(*x.shape[-2:])
        for layer in self.layers:
            if isinstance(layer.attn, WindowedAttention):
                layer.attn.grid = grid
        return super().forward(x)
