from collections.abc import Sequence
from copy import deepcopy

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmpretrain.models.backbones import SwinTransformer
from mmpretrain.models.utils import resize_pos_embed, to_2tuple
from torch import Tensor, nn

from simmim_mm.masking import replace_masked
from simmim_mm.models.backbones.base import BaseMaskedBackbone
from simmim_mm.models.backbones.window_attention import ShiftedWindowAttention
from simmim_mm.registry import MODELS


class BaseMaskedSwin(BaseMaskedBackbone):
    """What the two generations of Swin share: the way through the stages, and initialization."""

    embed_dims: int
    patch_embed: nn.Module
    patch_resolution: tuple[int, int]
    stages: nn.ModuleList
    out_indices: Sequence[int]

    def _complete(
        self,
        img_size: int | Sequence[int],
        channels: Sequence[int],
        downsampled: bool,
        attention: type,
    ) -> None:
        """Mask token, attributes and faster layers, once mmpretrain's class is built.

        Args:
            img_size: In pixels.
            channels: Of the output of each stage.
            downsampled: A stage's output lies behind its downsampling.
            attention: Takes the place of mmpretrain's.
        """
        self.mask_token = nn.Parameter(torch.zeros(1, 1, self.embed_dims))
        self.img_size = to_2tuple(img_size)
        self.token_stride = self.patch_embed.projection.stride[0]
        strides = [self.token_stride]
        for stage in self.stages:
            merging = stage.downsample
            strides.append(strides[-1] * (1 if merging is None else merging.sampler.stride[0]))
        self.out_channels = tuple(channels[i] for i in self.out_indices)
        self.out_strides = tuple(strides[i + downsampled] for i in self.out_indices)
        swap_attention(self.stages, attention)

    def _run_stage(self, i: int, x: Tensor, size: tuple[int, int]) -> tuple[Tensor, tuple]:
        """Tokens ``(B, h * w, C)`` through stage i, and the size of their map."""
        raise NotImplementedError

    def token_grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of tokens; the patch embedding pads the image to whole tokens."""
        return -(-height // self.token_stride), -(-width // self.token_stride)

    def reset_weights(self) -> None:
        """The authors' initialization."""
        init_swin_weights(self)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """Encode.

        Args:
            x: ``(B, C, H, W)``, of any size.
            mask: ``(B, H / 4, W / 4)`` boolean or on a coarser grid, True = masked; None masks
                nothing.

        Returns:
            Normalized maps of the stages ``out_indices``, ``(B, C_i, H / 2^(i+2), W / 2^(i+2))``.

        Raises:
            ValueError: If the mask does not fit the images.
        """
        if mask is not None:
            mask = self.token_mask(mask, x)
        x, size = self.patch_embed(x)
        if mask is not None:
            x = replace_masked(x, mask, self.mask_token)
        if self.use_abs_pos_embed:
            x = x + resize_pos_embed(
                self.absolute_pos_embed, self.patch_resolution, size, self.interpolate_mode, 0
            )
        x = self.drop_after_pos(x)

        outs = []
        for i in range(len(self.stages)):
            x, size = self._run_stage(i, x, size)
            if i in self.out_indices:
                out = getattr(self, f'norm{i}')(x)
                outs.append(out.unflatten(1, size).permute(0, 3, 1, 2).contiguous())
        return tuple(outs)


@MODELS.register_module()
class MaskedSwin(BaseMaskedSwin, SwinTransformer):
    """Swin Transformer with a mask token in the place of masked patches (SimMIM, section 3.2).

    Weights and features are those of mmpretrain's ``SwinTransformer``; the attention is faster.

    Args:
        arch: As in mmpretrain.
        img_size: ``H`` or ``(H, W)`` in pixels. Images of other sizes can be passed later.
        window_size: Of all stages. Unless ``pad_small_map``, a stage whose map (at ``img_size``) is
            smaller has a window of its shorter side, without shift, as in the authors' code: 192
            pixels and window 12 make the last stage's window 6.
        drop_path_rate: Highest rate of stochastic depth. mmpretrain's default is 0.1, at which its
            SimMIM departs from the authors' 0.
        pad_small_map: For detection and segmentation: ``window_size`` everywhere, whatever the
            image; small maps are padded to it, and shifted.
        stage_cfgs: As in mmpretrain; a ``window_size`` given here is taken as it is.
        **kwargs: Other arguments of ``SwinTransformer``.
    """

    def __init__(
        self,
        arch: str | dict = 'tiny',
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 4,
        window_size: int = 7,
        drop_path_rate: float = 0.0,
        pad_small_map: bool = False,
        stage_cfgs: dict | Sequence[dict] = dict(),
        **kwargs,
    ) -> None:
        stages = len((arch if isinstance(arch, dict) else self.arch_zoo[arch.lower()])['depths'])
        if not pad_small_map:
            windows = clamped_windows([window_size] * stages, img_size, patch_size)
            if isinstance(stage_cfgs, dict):
                stage_cfgs = [deepcopy(stage_cfgs) for _ in range(stages)]
            stage_cfgs = [{'window_size': w, **cfg} for w, cfg in zip(windows, stage_cfgs)]
        super().__init__(
            arch=arch,
            img_size=img_size,
            patch_size=patch_size,
            window_size=window_size,
            drop_path_rate=drop_path_rate,
            pad_small_map=pad_small_map,
            stage_cfgs=stage_cfgs,
            **kwargs,
        )
        self._complete(
            img_size, self.num_features, self.out_after_downsample, ShiftedWindowAttention
        )

    def _run_stage(self, i: int, x: Tensor, size: tuple[int, int]) -> tuple[Tensor, tuple]:
        if i and not self.out_after_downsample and self.stages[i - 1].downsample is not None:
            x, size = self.stages[i - 1].downsample(x, size)
        return self.stages[i](x, size, do_downsample=self.out_after_downsample)


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
    for stage in stages:
        for block in stage.blocks:
            block.attn = attention(block.attn)
        merging = stage.downsample
        if merging is not None and FastPatchMerging.suits(merging):
            stage.downsample = FastPatchMerging(merging)


def init_swin_weights(model: nn.Module) -> None:
    """Linear layers, mask token and bias tables of std 0.02; norms to the identity.

    By PyTorch's ``trunc_normal_``, not mmengine's: that one is ``erfinv`` of a float32 uniform, and
    once in ten million values or so gives the bound of -2 itself, a weight of 100 sigma.
    """
    for name, p in model.named_parameters():
        if name.endswith(('mask_token', 'absolute_pos_embed', 'relative_position_bias_table')):
            nn.init.trunc_normal_(p, std=0.02)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


class FastPatchMerging(BaseModule):
    """Takes the place of a 2x2 ``PatchMerging`` of mmcv or mmpretrain, with its weights.

    Those gather the four neighbors with ``nn.Unfold``, channel by channel, which moves single
    floats. Here whole rows are moved, neighbor by neighbor, and the (small) weights are
    brought to that order instead.

    Args:
        merging: The module to replace.
    """

    def __init__(self, merging: nn.Module) -> None:
        super().__init__()
        self.norm = merging.norm
        self.reduction = merging.reduction
        self.out_channels = merging.out_channels
        self.use_post_norm = getattr(merging, 'use_post_norm', False)

    @staticmethod
    def suits(merging: nn.Module) -> bool:
        """Whether the module is the usual one: adjacent 2x2 neighbors, padded at odd sizes."""
        sampler = merging.sampler
        geometry = (sampler.kernel_size, sampler.stride, sampler.dilation)
        return (
            geometry == ((2, 2), (2, 2), (1, 1))
            and merging.adaptive_padding is not None
            and isinstance(merging.norm, (nn.LayerNorm, type(None)))
        )

    def forward(self, x: Tensor, input_size: Sequence[int]) -> tuple[Tensor, tuple[int, int]]:
        """``(B, H * W, C)`` to ``(B, ceil(H / 2) * ceil(W / 2), C_out)``, and the new size."""
        B, _, C = x.shape
        H, W = input_size
        x = x.view(B, H, W, C)
        if H % 2 or W % 2:
            x = F.pad(x, (0, 0, 0, W % 2, 0, H % 2))
        H, W = (H + 1) // 2, (W + 1) // 2
        x = x.view(B, H, 2, W, 2 * C).transpose(2, 3).reshape(B, H * W, 4 * C)

        norm, reduction = self.norm, self.reduction
        if norm is not None and not self.use_post_norm:
            gain, shift = _rows_first(norm.weight), _rows_first(norm.bias)
            x = F.layer_norm(x, norm.normalized_shape, gain, shift, norm.eps)
        x = F.linear(x, _rows_first(reduction.weight), reduction.bias)
        if norm is not None and self.use_post_norm:
            x = norm(x)
        return x, (H, W)


def _rows_first(x: Tensor) -> Tensor:
    """Last dimension from Unfold's order (channel, neighbor) to (neighbor, channel)."""
    return x.unflatten(-1, (-1, 4)).transpose(-1, -2).flatten(-2)
