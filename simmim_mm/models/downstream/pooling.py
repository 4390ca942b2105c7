"""Necks from a feature map to one vector for each image."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from simmim_mm.registry import MODELS


@MODELS.register_module()
class AveragePool(BaseModule):
    """Mean over all positions, then a norm.

    Args:
        in_channels: Channels C of the map.
        norm: ``'layer'``: a layer norm, which MAE and ConvMAE have here, and not in front of the
            pooling, when they fine-tune. ``'batch'``: a batch norm without weights, in front of
            the linear layer of a probe (MAE, arXiv 2111.06377, appendix A.1). None: none.
    """

    def __init__(
        self, in_channels: int, norm: str | None = None, init_cfg: dict | list | None = None
    ) -> None:
        super().__init__(init_cfg)
        if norm not in ('layer', 'batch', None):
            raise ValueError(f"norm must be 'layer', 'batch' or None, got {norm!r}")
        self.norm: nn.Module = nn.Identity()
        if norm == 'layer':
            self.norm = nn.LayerNorm(in_channels, eps=1e-6)
        elif norm == 'batch':
            self.norm = nn.BatchNorm1d(in_channels, affine=False, eps=1e-6)

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[Tensor]:
        """The last of the maps, ``(B, C, H, W)``, to ``(B, C)``, in a tuple as heads take it."""
        x = self.pool(feats[-1].flatten(2).transpose(1, 2))
        if len(x) == 1 and isinstance(self.norm, nn.BatchNorm1d):  # the rest of an epoch
            return (F.batch_norm(x, self.norm.running_mean, self.norm.running_var, eps=1e-6),)
        return (self.norm(x),)

    def pool(self, tokens: Tensor) -> Tensor:
        """``(B, N, C)`` to ``(B, C)``."""
        return tokens.mean(1)


@MODELS.register_module()
class AttentivePool(AveragePool):
    """A learned query looks at all positions: attentive probing of CAE (arXiv 2202.03026).

    One cross-attention, whose keys and values are the tokens, without MLP or skip connection. What
    a frozen backbone knows in some places only, an average would blur.

    Args:
        in_channels: Channels C of the map.
        num_heads: Heads of the attention, a divisor of C.
        norm: See :class:`AveragePool`.
    """

    def __init__(
        self,
        in_channels: int,
        num_heads: int = 12,
        norm: str | None = 'batch',
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(in_channels, norm, init_cfg)
        if in_channels % num_heads:
            raise ValueError(f'{in_channels} channels cannot be divided among {num_heads} heads')
        self.query = nn.Parameter(torch.empty(1, 1, in_channels))
        nn.init.trunc_normal_(self.query, std=0.02)
        self.attention = nn.MultiheadAttention(in_channels, num_heads, batch_first=True)

    def pool(self, tokens: Tensor) -> Tensor:
        query = self.query.expand(len(tokens), -1, -1)
        return self.attention(query, tokens, tokens, need_weights=False)[0][:, 0]
