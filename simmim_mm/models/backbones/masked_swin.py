from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmpretrain.models.backbones import SwinTransformer
from mmpretrain.models.utils import resize_pos_embed, to_2tuple
from torch import Tensor, nn

from simmim_mm.masking import visible_ids
from simmim_mm.models.backbones.base import BaseMaskedBackbone, drop_bounds
from simmim_mm.models.backbones.cpu_linear import linear
from simmim_mm.models.backbones.units import Part, UnitGroup, head_units, mlp_units, narrow
from simmim_mm.models.backbones.visible_windows import VisibleTokens, z_order
from simmim_mm.models.backbones.window_attention import ShiftedWindowAttention
from simmim_mm.registry import MODELS

_uncompiled: Any = torch.compiler.disable  # it declares nothing


class BaseMaskedSwin(BaseMaskedBackbone):
    """What the two generations of Swin share."""

    attention: type  # takes the place of mmpretrain's
    arch_zoo: dict[str, dict]

    def __init__(
        self,
        arch: str | dict = 'tiny',
        img_size: int | Sequence[int] = 224,
        patch_size: int = 4,
        window_size: int | Sequence[int] = 7,
        drop_path_rate: float = 0.0,
        pad_small_map: bool = False,
        mask_mode: str = 'token',
        num_heads: Sequence[Sequence[int]] | None = None,
        mlp_widths: Sequence[Sequence[int]] | None = None,
        **kwargs,
    ) -> None:
        if mask_mode not in ('token', 'gather'):
            raise ValueError(f"mask_mode must be 'token' or 'gather', got {mask_mode!r}")
        depths = (arch if isinstance(arch, dict) else self.arch_zoo[arch.lower()])['depths']
        windows = [window_size] * len(depths) if isinstance(window_size, int) else window_size
        if not pad_small_map:
            windows = clamped_windows(windows, img_size, patch_size)
        kwargs.update(arch=arch, img_size=img_size, patch_size=patch_size)
        kwargs.update(drop_path_rate=drop_path_rate, pad_small_map=pad_small_map)
        super().__init__(**self._with_windows(windows, **kwargs))
        self.mask_mode = mask_mode
        if mask_mode == 'token':
            self.mask_token = nn.Parameter(torch.zeros(1, 1, self.embed_dims))
        self.img_size = to_2tuple(img_size)
        self.token_stride = self.patch_embed.projection.stride[0]
        channels, strides = [self.embed_dims], [self.token_stride]  # before and after each stage
        for stage in self.stages:
            merging = stage.downsample
            channels.append(stage.out_channels)
            strides.append(strides[-1] * (1 if merging is None else merging.sampler.stride[0]))
        self.out_channels = tuple(channels[i + self.out_after_downsample] for i in self.out_indices)
        self.out_strides = tuple(strides[i + self.out_after_downsample] for i in self.out_indices)
        swap_attention(self.stages, self.attention)
        narrow(self, num_heads=num_heads, mlp_widths=mlp_widths)
        self._freeze_stages()  # now, and not in the first train(), when it may be distributed
        if mask_mode == 'gather':  # a mask is of blocks that end as one token
            projection = self.patch_embed.projection
            merging = [stage.downsample for stage in self.stages if stage.downsample is not None]
            if projection.kernel_size != projection.stride or not all(
                isinstance(m, FastPatchMerging) for m in merging
            ):
                raise ValueError(
                    "mask_mode='gather' needs patches without overlap and merging of 2x2 "
                    'neighbors: leave out patch_cfg, and downsample_cfg of stage_cfgs'
                )
            self.token_stride = strides[-1]
            self.block_side = 2 ** len(merging)

    @staticmethod
    def _with_windows(windows: Sequence[int], **kwargs) -> dict[str, Any]:
        """Arguments of mmpretrain's class for stages of these windows; here of Swin v2."""
        return dict(kwargs, window_size=windows)

    head_parts: tuple[Part, ...]  # tensors of an attention beside qkv and proj

    def unit_groups(self) -> list[UnitGroup]:
        """Heads and hidden channels of each block."""
        groups = []
        for s, stage in enumerate(self.stages):
            for b in range(len(stage.blocks)):
                block, place = f'stages.{s}.blocks.{b}', (s, b)
                groups.append(
                    head_units(self, place, f'{block}.attn', self.head_parts, inside='w_msa')
                )
                layers = f'{block}.ffn.layers'
                groups.append(mlp_units(self, place, f'{layers}.0.0', f'{layers}.1'))
        return groups

    def token_grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of tokens; the patch embedding pads the image to whole tokens."""
        return -(-height // self.token_stride), -(-width // self.token_stride)

    def reset_weights(self) -> None:
        init_swin_weights(self)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """Encode images of any size; each map is normalized."""
        if mask is not None:
            mask = self.token_mask(mask, x)
            if self.mask_mode == 'gather':
                encode: Any = self.encode_visible  # its decorator is not typed
                return encode(x, mask)
        x, size = self.patch_embed(x)
        if mask is not None:
            x = self.replace_masked(x, mask)
        if self.use_abs_pos_embed:
            x = x + resize_pos_embed(
                self.absolute_pos_embed, self.patch_resolution, size, self.interpolate_mode, 0
            )
        x = self.drop_after_pos(x)

        outs, after = [], self.out_after_downsample
        for i, stage in enumerate(self.stages):
            x, size = stage(x, size) if after else stage(x, size, do_downsample=False)
            if i in self.out_indices:
                out = getattr(self, f'norm{i}')(x)
                outs.append(out.unflatten(1, size).permute(0, 3, 1, 2).contiguous())
            if stage.downsample is not None and not after:
                x, size = stage.downsample(x, size)
        return tuple(outs)

    @_uncompiled  # the number of groups is another in each step
    def encode_visible(self, x: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        """Encode the visible blocks only, as many in every image; tokens ``(B, n, C)``."""
        B, h, w = mask.shape
        ids, block = visible_ids(mask), self.token_stride
        if x.shape[-2:] != (h * block, w * block):
            raise ValueError(
                f'images of {x.shape[-2]}x{x.shape[-1]} pixels are not whole blocks of {block}, '
                "which mask_mode='gather' needs: change the crop size"
            )
        if not ids.numel():
            raise ValueError('every block is masked, nothing is visible: lower mask_ratio')
        image = torch.arange(B, device=ids.device).repeat_interleave(ids.shape[1])
        row, col = ids.flatten() // w, ids.flatten() % w
        # each block by itself, (B * n_visible, tokens of a block in Z-order, C)
        x = x.unflatten(3, (w, block)).unflatten(2, (h, block))[image, :, row, :, col]
        x, _ = self.patch_embed(x)
        blocks = torch.stack((image, row, col)).cpu().numpy()
        size: Any = VisibleTokens(blocks, (h, w), self.block_side, x.device)
        rows, cols = z_order(self.block_side)
        order = torch.from_numpy(rows * self.block_side + cols).to(x.device)
        x = x.index_select(1, order).view(B, -1, self.embed_dims)
        if self.use_abs_pos_embed:
            x = (
                x
                + resize_pos_embed(
                    self.absolute_pos_embed,
                    self.patch_resolution,
                    size.size,
                    self.interpolate_mode,
                    0,
                )[0][size.ids(B)]
            )
        x = self.drop_after_pos(x)

        outs, after = [], self.out_after_downsample
        for i, stage in enumerate(self.stages):
            x, size = stage(x, size) if after else stage(x, size, do_downsample=False)
            if i in self.out_indices:
                out, raster = getattr(self, f'norm{i}')(x), size.ids(B).argsort(1)
                outs.append(out.gather(1, raster[..., None].expand_as(out)))
            if stage.downsample is not None and not after:
                x, size = stage.downsample(x, size)
        return tuple(outs)


@MODELS.register_module()
class MaskedSwin(BaseMaskedSwin, SwinTransformer):
    """Swin Transformer with a mask token in the place of masked patches (SimMIM, section 3.2).

    Weights and features are those of mmpretrain's ``SwinTransformer``; the attention is faster.

    Args:
        arch: As in mmpretrain.
        img_size: ``H`` or ``(H, W)`` in pixels. Images of other sizes can be passed later.
        patch_size: Side of a token in pixels.
        window_size: Of all stages. Unless ``pad_small_map``, a stage whose map (at ``img_size``) is
            smaller has a window of its shorter side, without shift, as in the authors' code: 192
            pixels and window 12 make the last stage's window 6.
        drop_path_rate: Highest rate of stochastic depth. mmpretrain's default is 0.1, at which its
            SimMIM departs from the authors' 0.
        pad_small_map: For detection and segmentation: ``window_size`` everywhere, whatever the
            image; small maps are padded to it, and shifted.
        mask_mode: ``'token'``; or ``'gather'``: only visible tokens are encoded (GreenMIM, arXiv
            2205.13515), and a token of the mask is one of the last stage, of 32 pixels.
        num_heads: Of each block of each stage, fewer than in ``arch``, of the same width each: of
            a pruned Swin, such as ``[[2, 3], [5, 6], [10, 12, 9, 9, 8, 12], [16, 20]]``.
        mlp_widths: Hidden channels of each block of each stage, if it was pruned.
        **kwargs: Other arguments of ``SwinTransformer``. A ``window_size`` in ``stage_cfgs`` is
            taken as it is.
    """

    attention = ShiftedWindowAttention
    head_parts = (Part('relative_position_bias_table', 1),)

    @staticmethod
    def _with_windows(windows: Sequence[int], stage_cfgs: dict | Sequence[dict] = {}, **kwargs):
        if isinstance(stage_cfgs, dict):
            stage_cfgs = [deepcopy(stage_cfgs) for _ in windows]
        stage_cfgs = [{'window_size': w, **cfg} for w, cfg in zip(windows, stage_cfgs)]
        return dict(kwargs, stage_cfgs=stage_cfgs)


def clamped_windows(
    windows: Sequence[int], img_size: int | Sequence[int], patch_size: int
) -> list[int]:
    """Window of each stage, at most the shorter side of its map at ``img_size`` (in pixels)."""
    sides = [-(-n // p) for n, p in zip(to_2tuple(img_size), to_2tuple(patch_size))]
    clamped = []
    for window in windows:
        clamped.append(min(window, *sides))
        sides = [-(-n // 2) for n in sides]
    return clamped


def swap_attention(stages: nn.ModuleList, attention: type) -> None:
    """Replace attention and merging of mmpretrain's stages; weights and keys stay."""
    stage: Any
    for stage in stages:
        for block in stage.blocks:
            block.attn = attention(block.attn)
        merging = stage.downsample
        if merging is not None and FastPatchMerging.suits(merging):
            stage.downsample = FastPatchMerging(merging)


def init_swin_weights(model: nn.Module) -> None:
    """Linear layers, mask token and bias tables of std 0.02; norms to the identity."""
    for name, p in model.named_parameters():
        if name.endswith(('mask_token', 'absolute_pos_embed', 'relative_position_bias_table')):
            nn.init.trunc_normal_(p, std=0.02)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            module.reset_parameters()
    drop_bounds(model)


class FastPatchMerging(BaseModule):
    """Takes the place of a 2x2 ``PatchMerging`` of mmcv or mmpretrain, with its weights.

    Those gather the four neighbors with ``nn.Unfold``, channel by channel, which moves single
    floats. Here whole rows are moved, neighbor by neighbor, and the (small) weights are
    brought to that order instead.
    """

    def __init__(self, merging: Any) -> None:
        super().__init__()
        self.norm: Any = merging.norm
        self.reduction: Any = merging.reduction
        self.out_channels = merging.out_channels
        self.use_post_norm = getattr(merging, 'use_post_norm', False)

    @staticmethod
    def suits(merging: Any) -> bool:
        """Whether the module is the usual one: adjacent 2x2 neighbors, padded at odd sizes."""
        sampler = merging.sampler
        geometry = (sampler.kernel_size, sampler.stride, sampler.dilation)
        return (
            geometry == ((2, 2), (2, 2), (1, 1))
            and merging.adaptive_padding is not None
            and isinstance(merging.norm, (nn.LayerNorm, type(None)))
        )

    def forward(self, x: Tensor, input_size: Any) -> tuple[Tensor, Any]:
        """``(B, H * W, C)`` to ``(B, ceil(H / 2) * ceil(W / 2), C_out)``, and the new size.

        Or visible tokens ``(B, n, C)`` to ``(B, n / 4, C_out)``, with their :class:`VisibleTokens`.
        """
        B, _, C = x.shape
        if isinstance(input_size, VisibleTokens):
            return self.reduce(x.reshape(B, -1, 4 * C)), input_size.merged()
        H, W = input_size
        x = x.view(B, H, W, C)
        if H % 2 or W % 2:
            x = F.pad(x, (0, 0, 0, W % 2, 0, H % 2))
        H, W = (H + 1) // 2, (W + 1) // 2
        x = x.view(B, H, 2, W, 2 * C).transpose(2, 3).reshape(B, H * W, 4 * C)
        return self.reduce(x), (H, W)

    def reduce(self, x: Tensor) -> Tensor:
        """Four neighbors in a row, ``(B, n, 4 * C)``, to ``(B, n, C_out)``."""
        norm, reduction = self.norm, self.reduction
        if norm is not None and not self.use_post_norm:
            gain, shift = _rows_first(norm.weight), _rows_first(norm.bias)
            x = F.layer_norm(x, norm.normalized_shape, gain, shift, norm.eps)
        x = linear(x, _rows_first(reduction.weight), reduction.bias)
        if norm is not None and self.use_post_norm:
            x = norm(x)
        return x


def _rows_first(x: Tensor) -> Tensor:
    """Last dimension from Unfold's order (channel, neighbor) to (neighbor, channel)."""
    return x.unflatten(-1, (-1, 4)).transpose(-1, -2).flatten(-2)
