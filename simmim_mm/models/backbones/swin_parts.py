"""What MaskedSwin and MaskedSwinV2 share."""

from collections.abc import Sequence

from mmpretrain.models.utils import to_2tuple
from torch import nn

from simmim_mm.models.backbones.patch_merging import FastPatchMerging


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


def accelerate(stages: nn.ModuleList, attention: type) -> None:
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
