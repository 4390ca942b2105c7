"""What MaskedSwin and MaskedSwinV2 share."""

from collections.abc import Sequence
from typing import Optional, Union

from mmengine.logging import print_log
from mmpretrain.models.utils import to_2tuple
from torch import nn

from .patch_merging import FastPatchMerging


def clamped_windows(
    windows: Sequence[int], img_size: Union[int, Sequence[int]], patch_size: int
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


def is_pretrained(init_cfg: Union[dict, Sequence[dict], None]) -> bool:
    """Whether ``init_cfg`` loads a checkpoint, which an initialisation must not overwrite."""
    cfgs = [init_cfg] if isinstance(init_cfg, dict) else init_cfg or []
    return any(cfg['type'] == 'Pretrained' for cfg in cfgs)


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


def resize_biases(model: nn.Module, state_dict: dict, prefix: str) -> None:
    """Fit relative position biases of other windows to the model, in place, before loading."""
    resized: Optional[str] = None
    for key, own in model.state_dict().items():
        theirs = prefix + key
        if key.endswith('relative_position_bias_table') and theirs in state_dict:
            table = state_dict[theirs]
            if table.shape != own.shape and table.shape[1] == own.shape[1]:
                # imported here: most loads do not need it
                from simmim_mm.convert.position_bias import resize_position_bias

                side = (int(len(own) ** 0.5) + 1) // 2
                state_dict[theirs] = resize_position_bias(table, (side, side))
                resized = f'{key}: {tuple(table.shape)} to {tuple(own.shape)}'
    if resized:
        print_log(f'relative position biases resized to other windows, e.g. {resized}', 'current')


def keep_own_geometry(model: nn.Module, state_dict: dict, prefix: str) -> None:
    """Put the model's own position indices and coordinates in ``state_dict``, before loading.

    They follow from the window; a file may have those of another window, or, exported, none.
    """
    for key, own in model.state_dict().items():
        if key.endswith(('relative_position_index', 'relative_coords_table')):
            state_dict[prefix + key] = own
