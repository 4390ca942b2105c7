"""What the exports of several libraries have to know of a built backbone."""

from collections.abc import Collection
from typing import Any

from torch import Tensor, nn

from simmim_mm.interop.export import ExportError
from simmim_mm.interop.families import revert
from simmim_mm.interop.source import BUILT, PREFIX, Source

PORTABLE = {
    'MaskedSwin': {
        'arch',
        'img_size',
        'in_channels',
        'out_indices',
        'pad_small_map',
        'patch_size',
        'stage_cfgs',
        'window_size',
    },
    'MaskedViT': {
        'arch',
        'final_norm',
        'img_size',
        'in_channels',
        'interpolate_mode',
        'out_indices',
        'out_type',
        'patch_size',
        'qkv_bias',
        'with_cls_token',
    },
}
PORTABLE['MaskedSwinV2'] = PORTABLE['MaskedSwin'] | {'pretrained_window_sizes'}
PORTABLE['MaskedBEiT'] = PORTABLE['MaskedViT'] - {'qkv_bias', 'with_cls_token'} | {
    'bias',
    'layer_cfgs',
    'layer_scale_init_value',
    'use_abs_pos_emb',
    'use_rel_pos_bias',
    'use_shared_rel_pos_bias',
}
# Arguments whose default value, spelled out, changes nothing.
_NEUTRAL = dict(
    use_abs_pos_embed=False,
    out_after_downsample=False,
    layer_scale_init_value=0.0,
    pre_norm=False,
    with_cls_token=True,
    interpolate_mode='bicubic',
    norm_cfg=dict(type='LN'),
    patch_cfg={},
    layer_cfgs={},
)
_STAGE = {'window_size', 'block_cfgs'}
_BLOCK = {'ffn_ratio', 'attn_cfgs'}


def refuse_unknown(source: Source, library: str) -> None:
    """Refuse arguments of a backbone that say something of the network which others cannot.

    Raises:
        ExportError: If there is such an argument; the message names it.
    """
    for key, value in source.config.items():
        known = key in PORTABLE[source.family] or _NEUTRAL.get(key, ...) == value
        if key == 'stage_cfgs':
            known = all(_plain(stage) for stage in ([value] if isinstance(value, dict) else value))
        if not known:
            raise ExportError(
                f'{library} cannot express {key}={value!r} of {source.path}: export to mmpretrain, '
                'or use our backbone'
            )


def _plain(stage: dict) -> bool:
    blocks = stage.get('block_cfgs', {})
    if not isinstance(blocks, dict) or set(stage) - _STAGE or set(blocks) - _BLOCK:
        return False
    return set(blocks.get('attn_cfgs', {})) <= {'qkv_bias'}


def image_size(backbone: nn.Module) -> tuple[int, int]:
    """Height and width in pixels that the backbone is built for."""
    return tuple(n * backbone.token_stride for n in backbone.patch_resolution)


def plain_size(size: tuple[int, int]) -> Any:
    """One number for a square."""
    return size[0] if size[0] == size[1] else tuple(size)


def stage_windows(swin: nn.Module) -> list[int]:
    """Side of the windows of each stage, in tokens."""
    return [stage.blocks[0].attn.window_size for stage in swin.stages]


def stage_maps(swin: nn.Module) -> list[tuple[int, int]]:
    """Height and width of the map of each stage, in tokens."""
    maps = [tuple(swin.patch_resolution)]
    while len(maps) < len(swin.stages):
        maps.append(tuple((n + 1) // 2 for n in maps[-1]))
    return maps


def whole_ratio(hidden: int, dims: int, library: str) -> int:
    """``hidden / dims`` as the whole number that some libraries multiply with.

    Raises:
        ExportError: If it is none.
    """
    if hidden % dims:
        raise ExportError(
            f'{library} takes the width of the MLP as a whole multiple of the embedding, here '
            f'{hidden} to {dims}: use our backbone in its config'
        )
    return hidden // dims


def swin_arguments(swin: nn.Module) -> dict[str, Any]:
    """Width, depths, heads, ratio and bias of a Swin, under the names that mmdet and timm share."""
    block = swin.stages[0].blocks[0]
    msa = block.attn.w_msa
    return dict(
        embed_dims=swin.embed_dims,
        depths=tuple(len(stage.blocks) for stage in swin.stages),
        num_heads=tuple(stage.blocks[0].attn.w_msa.num_heads for stage in swin.stages),
        hidden=block.ffn.layers[1].in_features,
        qkv_bias=getattr(msa, 'q_bias', msa.qkv.bias) is not None,
        patch_size=swin.token_stride,
        in_channels=swin.patch_embed.projection.in_channels,
    )


def without(state_dict: dict, endings: Collection[str]) -> dict:
    """The entries whose names do not end so."""
    return {k: v for k, v in state_dict.items() if not k.endswith(tuple(endings))}


def renamed(ours: nn.Module, family: str) -> dict[str, Tensor]:
    """The weights under the names of a family of the converter, the mask token left out.

    Raises:
        ExportError: If a weight has no name there.
    """
    result = {}
    for key, tensor in ours.state_dict().items():
        if BUILT.fullmatch(key):
            continue
        if hasattr(ours, 'stages'):  # the rules are of four stages
            key = (
                key.replace(f'norm{len(ours.stages) - 1}.', 'norm3.') if key[:4] == 'norm' else key
            )
        names = revert({PREFIX + key: tensor}, family)
        if not names:
            raise ExportError(f'{PREFIX}{key} has no name in {family}: use our backbone')
        result.update(names)
    return result
