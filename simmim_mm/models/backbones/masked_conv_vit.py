"""The hybrid convolution-transformer encoder of ConvMAE."""

from collections.abc import Sequence
from itertools import accumulate
from operator import mul

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.drop import DropPath
from mmengine.model import BaseModule, XavierInit
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from mmpretrain.models.utils import resize_pos_embed, to_2tuple
from torch import Tensor, nn

from simmim_mm._renamed import old_names
from simmim_mm.masking import visible_ids
from simmim_mm.models.backbones.base import BaseMaskedBackbone
from simmim_mm.models.backbones.cpu_attention import use_attention
from simmim_mm.models.backbones.position import sincos_position_embedding
from simmim_mm.registry import MODELS


class VisibleUnits:
    """The visible ones of the square units (tokens of stage 3) that an image is divided into.

    Apart from their depth-wise convolution, stages 1 and 2 of ConvMAE work on every position by
    itself, and what they compute under the mask is never used: it is zeroed before the convolution
    and not gathered after the stage. So only visible units are computed, as ``(B * n, C, u, u)``,
    and laid out as a map, with zeros for masked units, for the convolution alone. The result is
    that of the authors' dense computation.

    Args:
        grid: Units in the image, ``(h, w)``.
        ids: ``(B, n)`` visible units, see :func:`visible_ids`; None = all.
    """

    def __init__(self, grid: tuple[int, int], ids: Tensor | None = None) -> None:
        self.grid, self.ids = grid, ids

    def gather(self, x: Tensor) -> Tensor:
        """``(B, C, h * u, w * u)`` map to ``(B * n, C, u, u)`` units."""
        B, C, H, W = x.shape
        h, w = self.grid
        x = x.view(B, C, h, H // h, w, W // w).permute(0, 2, 4, 1, 3, 5)
        x = x.reshape(B, h * w, C, H // h, W // w)
        if self.ids is not None:
            x = x[torch.arange(B, device=x.device)[:, None], self.ids]
        return x.flatten(0, 1)

    def scatter(self, x: Tensor, batch_size: int) -> Tensor:
        """``(B * n, C, u, u)`` units to a ``(B, C, h * u, w * u)`` map, zero where masked."""
        h, w = self.grid
        _, C, u, v = x.shape
        x = x.view(batch_size, -1, C, u, v)
        if self.ids is not None:
            whole = x.new_zeros(batch_size, h * w, C, u, v)
            index = torch.arange(batch_size, device=x.device)[:, None], self.ids
            x = whole.index_put(index, x)
        x = x.view(batch_size, h, w, C, u, v).permute(0, 3, 1, 4, 2, 5)
        return x.reshape(batch_size, C, h * u, w * v)


def _channels_first(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    """Layer norm over the channels of ``(N, C, u, v)``."""
    return norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvPatchEmbed(BaseModule):
    """Convolution of stride = kernel size, layer norm (eps 1e-5, as the authors'), GELU."""

    def __init__(self, in_channels: int, out_channels: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, out_channels, patch_size, stride=patch_size)
        self.norm = nn.LayerNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(_channels_first(self.norm, self.proj(x)))


class ConvMlp(BaseModule):
    """Two 1x1 convolutions with a GELU between."""

    def __init__(self, dims: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(dims, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, dims, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class MaskedConvBlock(BaseModule):
    """Block of stages 1 and 2: 1x1, masked depth-wise 5x5, 1x1; then a 1x1 MLP."""

    def __init__(self, dims: int, mlp_ratio: float = 4.0, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dims)
        self.conv1 = nn.Conv2d(dims, dims, 1)
        self.attn = nn.Conv2d(dims, dims, 5, padding=2, groups=dims)
        self.conv2 = nn.Conv2d(dims, dims, 1)
        self.drop_path = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(dims)
        self.mlp = ConvMlp(dims, int(dims * mlp_ratio))

    def forward(self, x: Tensor, units: VisibleUnits, batch_size: int) -> Tensor:
        y = self.conv1(_channels_first(self.norm1, x))
        y = units.gather(self.attn(units.scatter(y, batch_size)))
        x = x + self._drop(self.conv2(y), batch_size)
        return x + self._drop(self.mlp(_channels_first(self.norm2, x)), batch_size)

    def _drop(self, x: Tensor, batch_size: int) -> Tensor:
        # A path is dropped for a whole image, not for one of its units.
        return self.drop_path(x.unflatten(0, (batch_size, -1))).flatten(0, 1)


@MODELS.register_module()
class MaskedConvViT(BaseMaskedBackbone):
    """Encoder of ConvMAE (arXiv 2205.03892): two stages of convolutions, one of self-attention.

    With a mask only visible tokens are encoded (gather mode): the convolutions of the first stages
    see zeros under the mask, and their outputs are added to the third stage's (multi-scale fusion),
    so that nothing of a masked pixel reaches the output.

    Args:
        arch: ``'base'`` (ConvMAE-B, ViT-B sized), ``'small'``, ``'tiny'`` (for small budgets, not
            the authors') or a dict with ``embed_dims``, ``depths`` and ``mlp_ratios`` (three values
            each) and ``num_heads``.
        img_size: ``H`` or ``(H, W)`` in pixels, of the stored position embedding, which is
            interpolated for other inputs.
        patch_sizes: Strides of the three stages; their product is the token stride.
        in_channels: Channels of the image.
        drop_path_rate: Stochastic depth rate of the last block, growing linearly from 0.
        out_indices: Stages to return without a mask, out of 0, 1, 2. The last is normalized.
        final_norm: Normalize it. The authors fine-tune without: they normalize after pooling.
        frozen_pos_embed: Keep the position embedding at its fixed sine-cosine values (pretraining).
        fusion: Have the layers that add stages 1 and 2 to the output in pretraining; they are not
            needed downstream.
    """

    arch_zoo = {
        'tiny': dict(embed_dims=(48, 96, 192), depths=(1, 1, 6), num_heads=3),
        'small': dict(embed_dims=(128, 256, 384), depths=(2, 2, 11), num_heads=6),
        'base': dict(embed_dims=(256, 384, 768), depths=(2, 2, 11), num_heads=12),
    }
    mask_mode = 'gather'

    def __init__(
        self,
        arch='base',
        img_size=224,
        patch_sizes: Sequence[int] = (4, 2, 2),
        in_channels: int = 3,
        drop_path_rate: float = 0.0,
        out_indices: Sequence[int] = (2,),
        final_norm: bool = True,
        frozen_pos_embed: bool = True,
        fusion: bool = True,
        init_cfg=None,
    ) -> None:
        super().__init__(init_cfg)
        if isinstance(arch, str) and arch not in self.arch_zoo:
            raise ValueError(f'arch must be one of {sorted(self.arch_zoo)} or a dict, got {arch!r}')
        arch = self.arch_zoo[arch] if isinstance(arch, str) else arch
        dims, depths, ratios = arch['embed_dims'], arch['depths'], arch.get('mlp_ratios', (4, 4, 4))
        self.embed_dims, self.depths = tuple(dims), tuple(depths)
        self.out_indices = tuple(out_indices)
        strides = list(accumulate(patch_sizes, mul))
        self.token_stride = strides[-1]
        self.out_channels = tuple(dims[i] for i in self.out_indices)
        self.out_strides = tuple(strides[i] for i in self.out_indices)
        self.img_size = to_2tuple(img_size)
        self.grid = self.token_grid(*self.img_size)

        self.patch_embed1 = ConvPatchEmbed(in_channels, dims[0], patch_sizes[0])
        self.patch_embed2 = ConvPatchEmbed(dims[0], dims[1], patch_sizes[1])
        self.patch_embed3 = ConvPatchEmbed(dims[1], dims[2], patch_sizes[2])
        self.patch_embed4 = nn.Linear(dims[2], dims[2])
        self.fusion = fusion
        if fusion:
            to3, to2 = patch_sizes[1] * patch_sizes[2], patch_sizes[2]
            self.stage1_output_decode = nn.Conv2d(dims[0], dims[2], to3, stride=to3)
            self.stage2_output_decode = nn.Conv2d(dims[1], dims[2], to2, stride=to2)

        self.pos_embed = nn.Parameter(
            sincos_position_embedding(self.grid, dims[2]), requires_grad=not frozen_pos_embed
        )
        rates = torch.linspace(0, drop_path_rate, sum(depths)).tolist()
        i, j = depths[0], depths[0] + depths[1]  # where stages 2 and 3 begin
        self.blocks1 = nn.ModuleList(MaskedConvBlock(dims[0], ratios[0], r) for r in rates[:i])
        self.blocks2 = nn.ModuleList(MaskedConvBlock(dims[1], ratios[1], r) for r in rates[i:j])
        sizes, norm = (arch['num_heads'], int(dims[2] * ratios[2])), dict(type='LN', eps=1e-6)
        self.blocks3 = nn.ModuleList(
            TransformerEncoderLayer(dims[2], *sizes, drop_path_rate=r, norm_cfg=norm)
            for r in rates[j:]
        )
        use_attention(self.blocks3)
        self.norm = nn.LayerNorm(dims[2], eps=1e-6) if final_norm else nn.Identity()

    def reset_weights(self) -> None:
        """Xavier-uniform linear layers and last patch embedding, as MAE and ConvMAE."""
        nn.init.xavier_uniform_(self.patch_embed3.proj.weight.flatten(1))
        XavierInit(layer='Linear', distribution='uniform')(self)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """Encode images whose height and width are multiples of the token stride."""
        B, grid = x.shape[0], self.token_grid(*x.shape[-2:])
        ids = None if mask is None else visible_ids(self.token_mask(mask, x))
        units = VisibleUnits(grid, ids)

        # stage 1 and 2: convolutions, on the visible units
        x1 = self.patch_embed1(units.gather(x))
        for block in self.blocks1:
            x1 = block(x1, units, B)
        x2 = self.patch_embed2(x1)
        for block in self.blocks2:
            x2 = block(x2, units, B)

        # stage 3: self-attention among the visible tokens
        x3 = self.patch_embed4(self.patch_embed3(x2).flatten(1).view(B, -1, self.embed_dims[2]))
        pos_embed = resize_pos_embed(self.pos_embed, self.grid, grid, num_extra_tokens=0)
        if ids is not None:
            pos_embed = pos_embed[0][ids]
        x3 = x3 + pos_embed
        for block in self.blocks3:
            x3 = block(x3)

        if ids is not None:
            return (self.norm(self._fuse(x1, x2, x3)),)
        x3 = self.norm(x3).transpose(1, 2).reshape(B, -1, *grid)
        maps = (lambda: units.scatter(x1, B), lambda: units.scatter(x2, B), lambda: x3)
        return tuple(maps[i]() for i in self.out_indices)

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Layer of a parameter and number of layers, for layer-wise learning rates.

        Layer 0 is the first patch embedding, with the position embedding; blocks are 1 to
        ``sum(depths)`` through the stages, and a later patch embedding goes with the block before.
        """
        layer = last = sum(self.depths) + 1
        name = param_name[len(prefix) :].split('.')
        if param_name.startswith(prefix):
            if name[0] == 'pos_embed':
                layer = 0
            elif name[0][:-1] == 'patch_embed':  # 1 to 4; 3 and 4 make the tokens of stage 3
                layer = sum(self.depths[: min(int(name[0][-1]), 3) - 1])
            elif name[0][:-1] == 'blocks':
                layer = sum(self.depths[: int(name[0][-1]) - 1]) + int(name[1]) + 1
        return layer, last + 1

    def _fuse(self, x1: Tensor, x2: Tensor, x3: Tensor) -> Tensor:
        """Add the first two stages, brought to the tokens of the third."""
        if not self.fusion:
            raise RuntimeError('encoding under a mask needs the multi-scale layers: fusion=True')
        x1, x2 = self.stage1_output_decode(x1), self.stage2_output_decode(x2)
        return x3 + x1.flatten(1).view_as(x3) + x2.flatten(1).view_as(x3)

    def token_grid(self, height: int, width: int) -> tuple[int, int]:
        stride = self.token_stride
        if height % stride or width % stride:
            raise ValueError(
                f'height and width must be multiples of {stride}, got {height}x{width}: resize, '
                'crop or pad (pad_size_divisor of the data preprocessor) the images'
            )
        return height // stride, width // stride


__getattr__ = old_names(__name__)
