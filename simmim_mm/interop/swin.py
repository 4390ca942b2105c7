"""Swin and Swin v2: SimMIM, Microsoft, timm, transformers, mmpretrain, mmdet, mmseg.

timm took over the names of microsoft/Swin-Transformer, which are those of SimMIM's pretraining
files without ``encoder.``. No mask token is stored there: pretraining starts with a new one.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from simmim_mm.interop.export import (
    Export,
    ExportError,
    Source,
    forget_stage_windows,
    image_size,
    plain_size,
    refuse_unknown,
    renamed,
    whole_ratio,
    without,
)
from simmim_mm.interop.family import (
    LINEAR_DECODER,
    OPENMMLAB_RULES,
    UNKNOWN,
    Family,
    complete_arguments,
    count,
    having,
    shape,
    simmim_model,
    square_side,
)
from simmim_mm.interop.keymap import Rule, block_rules, not_written, qkv_rules
from simmim_mm.interop.vit import HF_EMBEDDING, HF_MLP, NO_CLASSIFIER


# ---- names ----
def to_unfold(x: Tensor) -> Tensor:
    """Channels of a 2x2 merge from the authors' order to that of ``nn.Unfold``.

    The authors concatenate the neighbors (0, 0), (1, 0), (0, 1), (1, 1), all channels of each;
    Unfold gives each channel's neighbors in raster order.
    """
    return x.unflatten(-1, (4, -1))[..., _SWAP, :].transpose(-1, -2).flatten(-2).contiguous()


def from_unfold(x: Tensor) -> Tensor:
    """The inverse of :func:`to_unfold`."""
    return x.unflatten(-1, (-1, 4)).transpose(-1, -2)[..., _SWAP, :].flatten(-2).contiguous()


_SWAP = [0, 2, 1, 3]
# By version, the parameters of patch merging that have one entry for each merged channel: in
# Swin v2 the norm comes after the reduction.
_MERGED = {1: ('reduction.weight', 'norm.weight', 'norm.bias'), 2: ('reduction.weight',)}
# Where the merging between stages i and i + 1 stands: at the end of one or the start of the other.
_END, _START = '{i}', '{i+1}'
_NATIVE_MERGING = {1: f'stages.{_END}', 2: f'stages.{_START}'}
_BLOCK, _ATTENTION = 'backbone.stages.{i}.blocks.{j}', 'attn.w_msa'
_TABLE, _SCALE = 'relative_position_bias_table', 'logit_scale'
_MARK = {1: _TABLE, 2: _SCALE}  # what only this version has
_REBUILT = ('relative_position_index', 'relative_coords_table')


def merge_rules(source: str, native: str, permuted: tuple[str, ...]) -> tuple[Rule, ...]:
    """Rules of the patch merging of a stage, whose parameters ``permuted`` are in another order."""
    source, native = f'{source}.downsample.', f'backbone.{native}.downsample.'
    moves = [Rule(source + n, native + n, to_unfold, from_unfold) for n in permuted]
    return (*moves, Rule(source + '{rest}', native + '{rest}'))


def _rules(version: int, prefix: str = '', merging: str = _END) -> tuple[Rule, ...]:
    """Microsoft's names, behind a prefix."""
    block = f'{prefix}layers.{{i}}.blocks.{{j}}'
    attention = f'{block}.attn', f'{_BLOCK}.{_ATTENTION}'
    names = (
        ('norm1', 'norm1'),
        ('norm2', 'norm2'),
        ('attn', _ATTENTION),
        ('mlp.fc1', 'ffn.layers.0.0'),
        ('mlp.fc2', 'ffn.layers.1'),
    )
    return (
        *merge_rules(f'{prefix}layers.{merging}', _NATIVE_MERGING[version], _MERGED[version]),
        Rule(f'{prefix}absolute_pos_embed', 'backbone.absolute_pos_embed'),
        Rule(f'{prefix}patch_embed.proj.{{rest}}', 'backbone.patch_embed.projection.{rest}'),
        Rule(f'{prefix}patch_embed.norm.{{rest}}', 'backbone.patch_embed.norm.{rest}'),
        *(Rule(f'{attention[0]}.{n}', f'{attention[1]}.{n}', regenerated=True) for n in _REBUILT),
        Rule(f'{block}.attn_mask', f'{_BLOCK}.attn_mask', regenerated=True, one_way=True),
        *block_rules(block, _BLOCK, names),
        Rule(f'{prefix}norm.{{rest}}', 'backbone.norm3.{rest}'),
    )


def _hf_rules(version: int) -> tuple[Rule, ...]:
    """Names of transformers, where the merging stands at the end of a stage."""
    block, merging = 'encoder.layers.{i}.blocks.{j}', f'encoder.layers.{_END}'
    attention = f'{block}.attention.self', f'{_BLOCK}.{_ATTENTION}'
    names = (
        ('layernorm_before', 'norm1'),
        ('layernorm_after', 'norm2'),
        ('attention.output.dense', f'{_ATTENTION}.proj'),
        ('attention.self.continuous_position_bias_mlp', f'{_ATTENTION}.cpb_mlp'),
        *HF_MLP,
    )
    return (
        *HF_EMBEDDING,
        Rule('embeddings.position_embeddings', 'backbone.absolute_pos_embed'),
        Rule('embeddings.norm.{rest}', 'backbone.patch_embed.norm.{rest}'),
        *qkv_rules(*attention, separate_bias=version == 2),
        *(Rule(f'{attention[0]}.{n}', f'{attention[1]}.{n}') for n in (_TABLE, _SCALE)),
        *(Rule(f'{attention[0]}.{n}', regenerated=True) for n in _REBUILT),
        *block_rules(block, _BLOCK, names),
        *merge_rules(merging, _NATIVE_MERGING[version], _MERGED[version]),
        Rule('layernorm.{rest}', 'backbone.norm3.{rest}'),
        LINEAR_DECODER,
    )


# ---- from other code ----
def _model_config(config: dict, version: int) -> dict:
    enc, patch = config['encoder'], config.get('norm_target_patch')
    arch = {'embed_dims': enc['embed_dim']}
    arch.update({k: list(enc[k]) for k in ('depths', 'num_heads')})
    if version == 2:
        arch['extra_norm_every_n_blocks'] = 0
    block = {}
    if enc.get('mlp_ratio', 4.0) != 4.0:
        block['ffn_ratio'] = enc['mlp_ratio']
    if not enc.get('qkv_bias', True):
        block['attn_cfgs'] = dict(qkv_bias=False)
    backbone = dict(
        type='MaskedSwin' if version == 1 else 'MaskedSwinV2',
        arch=arch,
        img_size=enc['img_size'],
        patch_size=enc['patch_size'],
        in_channels=enc['in_chans'],
        window_size=enc['window_size'],
        drop_rate=enc.get('drop_rate', 0.0),
        drop_path_rate=enc.get('drop_path_rate', 0.0),
        use_abs_pos_embed=enc.get('ape', False),
    )
    if any(enc.get('pretrained_window_sizes') or ()):
        backbone['pretrained_window_sizes'] = list(enc['pretrained_window_sizes'])
    if block:
        backbone['stage_cfgs'] = dict(block_cfgs=block)
    if not enc.get('patch_norm', True):
        backbone['patch_cfg'] = dict(norm_cfg=None)
    return simmim_model(
        backbone,
        width=enc['embed_dim'] * 2 ** (len(enc['depths']) - 1),
        stride=config['encoder_stride'],
        target=[dict(type='LocalNorm', patch_size=patch)] if patch else [],
    )


def _infer(
    weights: Mapping[str, Tensor], hints: dict, version: int, pretrained_at: int | None = None
) -> dict:
    dims, in_chans, patch, _ = shape(weights, 'backbone.patch_embed.projection.weight')
    stages = count(weights, r'backbone\.stages\.(\d+)\.')
    depths = [count(weights, rf'backbone\.stages\.{i}\.blocks\.(\d+)\.') for i in range(stages)]
    first = [_BLOCK.format(i=i, j=0) for i in range(stages)]
    attention = [f'{block}.{_ATTENTION}' for block in first]
    if version == 1:
        tables = [shape(weights, f'{name}.{_TABLE}') for name in attention]
        windows = [(square_side(rows, 'position biases') + 1) // 2 for rows, _ in tables]
        heads = [n for _, n in tables]
    else:
        index = [weights.get(f'{name}.relative_position_index') for name in attention]
        windows = [square_side(len(table), 'tokens') for table in index if table is not None]
        heads = [shape(weights, f'{name}.{_SCALE}')[0] for name in attention]
    size = hints.get('DATA', {}).get('IMG_SIZE')  # of the config in official files
    if not size and windows:
        size = _image_size(weights, windows, patch, pretrained_at)
    encoder = dict(
        img_size=size or UNKNOWN,
        patch_size=patch,
        in_chans=in_chans,
        embed_dim=dims,
        depths=depths,
        num_heads=heads,
        window_size=max(windows, default=UNKNOWN),
        mlp_ratio=shape(weights, f'{first[0]}.ffn.layers.0.0.weight')[0] / dims,
        qkv_bias=f'{attention[0]}.{"qkv.bias" if version == 1 else "q_bias"}' in weights,
        ape='backbone.absolute_pos_embed' in weights,
        patch_norm='backbone.patch_embed.norm.weight' in weights,
        drop_path_rate=0.0,
    )
    if version == 2:  # of another window than now, where weights were fine-tuned
        encoder['pretrained_window_sizes'] = [0] * stages
    stride = patch * 2 ** (stages - 1)
    config = dict(encoder=complete_arguments(encoder, hints), encoder_stride=stride)
    if version == 2:
        norm = hints.get('MODEL', {}).get('SIMMIM', {}).get('NORM_TARGET', {})
        patch_size = norm.get('PATCH_SIZE', 47) if norm.get('ENABLE', True) else None
        config['norm_target_patch'] = hints.get('norm_target_patch', patch_size)
    return config


def _image_size(
    weights: Mapping[str, Tensor], windows: list[int], patch: int, pretrained_at: int | None
) -> int:
    """From the number of windows that a stored attention mask covers, or a clamped window."""
    for i, window in enumerate(windows):
        mask = weights.get(f'backbone.stages.{i}.blocks.1.attn_mask')
        if mask is not None:
            return square_side(len(mask), 'windows') * window * patch * 2**i
    # windows that are not clamped leave several sizes
    if pretrained_at and 'backbone.mask_token' in weights and windows[-1] == max(windows):
        return pretrained_at
    # without shifted windows every map fits into one window, and the clamped one equals its map
    return windows[-1] * patch * 2 ** (len(windows) - 1)


def _family(
    version: int,
    name: str,
    title: str,
    rules: tuple[Rule, ...],
    detect: Callable[[Mapping[str, Tensor]], bool],
    prefix: str = '',
    **known: Any,
) -> Family:
    infer = partial(_infer, version=version, **known)
    return Family(
        name, title, rules, detect, partial(_model_config, version=version), infer, prefix
    )


def _simmim(version: int, name: str, title: str) -> Family:
    rules = Rule('encoder.mask_token', 'backbone.mask_token'), *_rules(version, 'encoder.')
    mark = f'encoder.layers.0.blocks.0.attn.{_MARK[version]}'
    detect = having(mark, 'encoder.mask_token')
    return _family(version, name, title, (*rules, LINEAR_DECODER), detect)


def _microsoft(version: int, name: str, title: str) -> Family:
    detect = having(f'layers.0.blocks.0.attn.{_MARK[version]}', _MERGED_AT_END)
    title = f'{title}, trained with labels or fine-tuned (microsoft/Swin-Transformer)'
    return _family(version, name, title, _rules(version), detect)


def _timm(version: int, name: str, title: str) -> Family:
    rules = not_written(_rules(version, merging=_START))
    mark = f'layers.0.blocks.0.attn.{_MARK[version]}'
    detect = having(mark, without=(_MERGED_AT_END,))
    return _family(version, name, f'{title} of timm', rules, detect)


def _huggingface(version: int, name: str, title: str, prefix: str) -> Family:
    detect = having(f'encoder.layers.0.blocks.0.attention.self.{_MARK[version]}')
    title = f'{title} of transformers'
    return _family(version, name, title, _hf_rules(version), detect, prefix)


def _openmmlab(version: int, name: str, title: str, **known: Any) -> Family:
    detect = having(f'backbone.stages.0.blocks.0.{_ATTENTION}.{_MARK[version]}')
    title = f'{title} of mmpretrain and mmselfsup'
    return _family(version, name, title, OPENMMLAB_RULES, detect, **known)


_MERGED_AT_END = 'layers.0.downsample.reduction.weight'
SIMMIM = _simmim(1, 'simmim_swin', 'SimMIM Swin (microsoft/SimMIM)')
SIMMIM_V2 = _simmim(2, 'simmim_swinv2', 'SimMIM Swin v2 (microsoft/Swin-Transformer)')
MICROSOFT = _microsoft(1, 'swin', 'Swin')
MICROSOFT_V2 = _microsoft(2, 'swinv2', 'Swin v2')
TIMM = _timm(1, 'timm_swin', 'Swin')
TIMM_V2 = _timm(2, 'timm_swinv2', 'Swin v2')
HUGGINGFACE = _huggingface(1, 'hf_swin', 'Swin', 'swin.')
HUGGINGFACE_V2 = _huggingface(2, 'hf_swinv2', 'Swin v2', 'swinv2.')
# mmpretrain pretrains at 192 pixels
OPENMMLAB = _openmmlab(1, 'openmmlab_simmim', 'Swin, SimMIM and others', pretrained_at=192)
OPENMMLAB_V2 = _openmmlab(2, 'openmmlab_swinv2', 'Swin v2')

# ---- to other libraries ----
NORMS = (
    'pretraining normalizes the last stage only; the norms of the others start fresh, as in the '
    "authors' recipe"
)


def swin_to_mmpretrain(source: Source) -> Export:
    """Its index of relative positions goes along: mmpretrain removes it without looking."""
    swin = source.build()
    # mmpretrain does not clamp windows to small maps, it refuses these
    windows = stage_windows(swin)
    config = dict(source.config)
    if len(set(windows)) > 1:
        stages = config.get('stage_cfgs') or {}
        stages = [stages] * len(windows) if isinstance(stages, dict) else stages
        config['stage_cfgs'] = [{**s, 'window_size': w} for s, w in zip(stages, windows)]
    else:
        forget_stage_windows(config)
    config.update(window_size=max(windows), img_size=plain_size(image_size(swin)))
    state = without(swin.state_dict(), ['mask_token'])
    return Export('mmpretrain', 'SwinTransformer', config, state, swin)


def swin_v2_to_mmpretrain(source: Source) -> Export:
    """Without tables of positions: mmpretrain removes them and keeps its own."""
    swin = source.build()
    config = {**source.config, 'window_size': list(swin.window_sizes)}
    config['img_size'] = plain_size(image_size(swin))
    state = without(swin.state_dict(), ['mask_token', *_REBUILT])
    return Export('mmpretrain', 'SwinTransformerV2', config, state, swin)


def swin_to_mmdet(source: Source, target: str = 'mmdet') -> Export:
    """One window for all stages, maps padded to it.

    Without the index of relative positions: mmdet builds it, and fails on one of another size.
    """
    stages = len(swin_depths(source))
    swin = _build(source, target, pad_small_map=True, out_indices=tuple(range(stages)))
    arguments = swin_arguments(swin)
    hidden, patch = arguments.pop('hidden'), arguments.pop('patch_size')
    arguments.update(
        mlp_ratio=whole_ratio(hidden, swin.embed_dims, target),
        window_size=stage_windows(swin)[0],
        out_indices=tuple(range(stages)),
        patch_size=patch,
        strides=(patch,) + (2,) * (stages - 1),
    )
    if target == 'mmdet':  # its base configs for Swin have it True
        arguments['convert_weights'] = False
    fresh = [f'norm{i}.' for i in range(stages) if f'norm{i}.weight' not in source.state_dict]
    state = without(swin.state_dict(), ['mask_token', 'relative_position_index'])
    return Export(
        target,
        'SwinTransformer',
        arguments,
        {k: v for k, v in state.items() if not k.startswith(tuple(fresh))},
        swin,
        fresh={f'{name}*': NORMS for name in fresh},
        notes=[f'The neck takes in_channels={[swin.embed_dims * 2**i for i in range(stages)]}.'],
    )


def swin_to_mmseg(source: Source) -> Export:
    """As mmdet's, of which mmseg's is a copy."""
    return swin_to_mmdet(source, 'mmseg')


def swin_to_timm(source: Source) -> Export:
    """Windows are clamped to small maps there too."""
    return _timm_export(source, TIMM, 'swin_tiny_patch4_window7_224')


def swin_v2_to_timm(source: Source) -> Export:
    """As Swin, and with the windows of the pretraining if they differ."""
    export = _timm_export(source, TIMM_V2, 'swinv2_tiny_window8_256')
    export.arguments['pretrained_window_sizes'] = tuple(_trained_windows(source, export.backbone))
    return export


def swin_to_huggingface(source: Source) -> Export:
    """The tables there have the full window in every stage."""
    swin, arguments = _hf_arguments(source)
    windows = stage_windows(swin)
    window = source.config.get('window_size', max(windows))
    for i, (own, (h, w)) in enumerate(zip(windows, stage_maps(swin))):
        if own != window:
            raise ExportError(
                f'stage {i + 1} has a map of {h}x{w} tokens, smaller than the window of {window}, '
                "which transformers' Swin cannot hold: give a larger --img-size or a smaller "
                '--window'
            )
    arguments.update(model_type='swin', window_size=window)
    return Export('huggingface', 'SwinModel', arguments, renamed(swin, HUGGINGFACE), swin)


def swin_v2_to_huggingface(source: Source) -> Export:
    """Windows are clamped to small maps there too."""
    swin, arguments = _hf_arguments(source)
    window = source.config.get('window_size', max(swin.window_sizes))
    for i, (own, (h, w)) in enumerate(zip(swin.window_sizes, stage_maps(swin))):
        if own != min(window, h, w) or (min(h, w) <= window and h != w):
            raise ExportError(
                f'stage {i + 1} has a map of {h}x{w} tokens and windows of {own}, which '
                "transformers' Swin v2 cannot hold: give a square --img-size, or one --window"
            )
    trained = _trained_windows(source, swin)
    arguments.update(model_type='swinv2', window_size=window, pretrained_window_sizes=trained)
    return Export('huggingface', 'Swinv2Model', arguments, renamed(swin, HUGGINGFACE_V2), swin)


def _timm_export(source: Source, family: Family, name: str) -> Export:
    stages = len(swin_depths(source))
    swin = _build(source, 'timm', pad_small_map=False, out_indices=(stages - 1,))
    check_maps(swin, 'timm')
    known = swin_arguments(swin)
    arguments = dict(
        img_size=plain_size(image_size(swin)),
        patch_size=known['patch_size'],
        in_chans=known['in_channels'],
        num_classes=0,
        embed_dim=swin.embed_dims,
        depths=known['depths'],
        num_heads=known['num_heads'],
        window_size=source.config.get('window_size', max(stage_windows(swin))),
        mlp_ratio=known['hidden'] / swin.embed_dims,
        qkv_bias=known['qkv_bias'],
    )
    return Export('timm', name, arguments, renamed(swin, family), swin, notes=[NO_CLASSIFIER])


def _hf_arguments(source: Source) -> tuple[Any, dict[str, Any]]:
    stages = len(swin_depths(source))
    swin = _build(source, 'transformers', pad_small_map=False, out_indices=(stages - 1,))
    known = swin_arguments(swin)
    arguments = dict(
        image_size=list(image_size(swin)),
        patch_size=known['patch_size'],
        num_channels=known['in_channels'],
        embed_dim=swin.embed_dims,
        depths=list(known['depths']),
        num_heads=list(known['num_heads']),
        mlp_ratio=float(whole_ratio(known['hidden'], swin.embed_dims, 'transformers')),
        qkv_bias=known['qkv_bias'],
        layer_norm_eps=swin.stages[0].blocks[0].norm1.eps,
    )
    return swin, arguments


def _build(source: Source, library: str, **changes: Any) -> Any:
    refuse_unknown(source, library)
    forget_stage_windows(source.config)
    return source.build(**changes)


def _trained_windows(source: Source, swin: Any) -> list[int]:
    return list(source.config.get('pretrained_window_sizes') or [0] * len(swin.stages))


def stage_windows(swin: Any) -> list[int]:
    """Side of the windows of each stage, in tokens."""
    return [stage.blocks[0].attn.window_size for stage in swin.stages]


def stage_maps(swin: Any) -> list[tuple[int, int]]:
    """Height and width of the map of each stage, in tokens."""
    maps = [tuple(swin.patch_resolution)]
    while len(maps) < len(swin.stages):
        maps.append(tuple((n + 1) // 2 for n in maps[-1]))
    return maps


def check_maps(swin: Any, library: str) -> None:
    """Refuse maps on which the library places its windows in another way than we do.

    Raises:
        ExportError: If windows are clamped on a map that is not square, or do not divide it.
    """
    for i, (window, (h, w)) in enumerate(zip(stage_windows(swin), stage_maps(swin))):
        if min(h, w) <= window and h != w:
            raise ExportError(
                f'stage {i + 1} has a map of {h}x{w} tokens and windows of {window}: {library} '
                'shifts these along the longer side only. Give a square --img-size, or a smaller '
                '--window'
            )
        if min(h, w) > window and (h % window or w % window):
            raise ExportError(
                f'stage {i + 1} has a map of {h}x{w} tokens, which windows of {window} do not '
                f'divide, and {library} pads it otherwise than we do. Give another --img-size or '
                '--window'
            )


def swin_arguments(swin: Any) -> dict[str, Any]:
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


def swin_depths(source: Source) -> tuple[int, ...]:
    """Blocks of each stage, counted in the weights."""
    stages = count(source.state_dict, r'stages\.(\d+)\.')
    return tuple(count(source.state_dict, rf'stages\.{i}\.blocks\.(\d+)\.') for i in range(stages))
