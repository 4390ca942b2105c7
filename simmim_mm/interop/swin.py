"""Swin and Swin v2: SimMIM, Microsoft, timm, transformers, mmpretrain, mmdet, mmseg.

timm's names are those of microsoft/Swin-Transformer, SimMIM's without ``encoder.``; neither has a
mask token.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from simmim_mm.interop import export, family
from simmim_mm.interop.export import Export, ExportError, Source
from simmim_mm.interop.family import Family, count, having, shape
from simmim_mm.interop.keymap import Rule, block_rules, not_written, qkv_rules
from simmim_mm.interop.vit import HF_EMBEDDING, HF_MLP, MLP, NO_CLASSIFIER


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
# By version: parameters of patch merging that have an entry for each merged channel (in Swin v2 the
# norm comes after the reduction), and what else only this version has.
_MERGED = {1: ('reduction.weight', 'norm.weight', 'norm.bias'), 2: ('reduction.weight',)}
_MARK = {1: 'relative_position_bias_table', 2: 'logit_scale'}
# Where the merging between stages i and i + 1 stands: at the end of one or the start of the other.
_END, _START = '{i}', '{i+1}'
_NATIVE_MERGING = {1: f'stages.{_END}', 2: f'stages.{_START}'}
_BLOCK, _ATTENTION = 'backbone.stages.{i}.blocks.{j}', 'attn.w_msa'
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
    names = (('norm1', 'norm1'), ('norm2', 'norm2'), ('attn', _ATTENTION), *MLP)
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
    """Names of transformers."""
    block = 'encoder.layers.{i}.blocks.{j}'
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
        *(Rule(f'{attention[0]}.{n}', f'{attention[1]}.{n}') for n in _MARK.values()),
        *(Rule(f'{attention[0]}.{n}', regenerated=True) for n in _REBUILT),
        *block_rules(block, _BLOCK, names),
        *merge_rules(f'encoder.layers.{_END}', _NATIVE_MERGING[version], _MERGED[version]),
        Rule('layernorm.{rest}', 'backbone.norm3.{rest}'),
        family.LINEAR_DECODER,
    )


# ---- from other code ----
def _model_config(config: dict, version: int) -> dict:
    enc, patch = config['encoder'], config.get('norm_target_patch')
    own = {} if version == 1 else dict(extra_norm_every_n_blocks=0)
    lists = {name: list(enc[name]) for name in ('depths', 'num_heads')}
    block = {}
    if enc.get('mlp_ratio', 4.0) != 4.0:
        block['ffn_ratio'] = enc['mlp_ratio']
    if not enc.get('qkv_bias', True):
        block['attn_cfgs'] = dict(qkv_bias=False)
    backbone: dict[str, Any] = dict(
        type='MaskedSwin' if version == 1 else 'MaskedSwinV2',
        arch=dict(embed_dims=enc['embed_dim'], **lists, **own),
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
    width = enc['embed_dim'] * 2 ** (len(enc['depths']) - 1)
    target = [dict(type='LocalNorm', patch_size=patch)] if patch else []
    return family.simmim_model(backbone, width, config['encoder_stride'], target=target)


def _infer(
    weights: Mapping[str, Tensor], hints: dict, version: int, pretrained_at: int | None = None
) -> dict:
    dims, in_chans, patch, _ = shape(weights, 'backbone.patch_embed.projection.weight')
    depths = _depths(weights, r'backbone\.')
    blocks = [_BLOCK.format(i=i, j=0) for i in range(len(depths))]
    attention = [f'{block}.{_ATTENTION}' for block in blocks]
    marks = [shape(weights, f'{name}.{_MARK[version]}') for name in attention]
    if version == 1:
        sides = [family.square_side(rows, 'position biases') for rows, _ in marks]
        windows, heads = [(side + 1) // 2 for side in sides], [n for _, n in marks]
    else:
        index = [weights.get(f'{name}.relative_position_index') for name in attention]
        windows = [family.square_side(len(x), 'tokens') for x in index if x is not None]
        heads = [mark[0] for mark in marks]
    size = hints.get('DATA', {}).get('IMG_SIZE')  # of the config in official files
    if not size and windows:
        size = _image_size(weights, windows, patch, pretrained_at)
    encoder = dict(
        img_size=size or family.UNKNOWN,
        patch_size=patch,
        in_chans=in_chans,
        embed_dim=dims,
        depths=depths,
        num_heads=heads,
        window_size=max(windows, default=family.UNKNOWN),
        mlp_ratio=shape(weights, f'{blocks[0]}.ffn.layers.0.0.weight')[0] / dims,
        qkv_bias=f'{attention[0]}.{"qkv.bias" if version == 1 else "q_bias"}' in weights,
        ape='backbone.absolute_pos_embed' in weights,
        patch_norm='backbone.patch_embed.norm.weight' in weights,
        drop_path_rate=0.0,
    )
    config: dict[str, Any] = dict(encoder=encoder, encoder_stride=patch * 2 ** (len(depths) - 1))
    if version == 2:
        # of another window than now, where weights were fine-tuned
        encoder['pretrained_window_sizes'] = [0] * len(depths)
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
            return family.square_side(len(mask), 'windows') * window * patch * 2**i
    # windows that are not clamped leave several sizes
    if pretrained_at and 'backbone.mask_token' in weights and windows[-1] == max(windows):
        return pretrained_at
    # without shifted windows every map fits into one window, and the clamped one equals its map
    return windows[-1] * patch * 2 ** (len(windows) - 1)


def _families(version: int) -> tuple[Family, ...]:
    """SimMIM's, Microsoft's, and those of timm, transformers and mmpretrain."""
    v, title, mark = ('', 'Swin', _MARK[1]) if version == 1 else ('v2', 'Swin v2', _MARK[2])
    repository = 'microsoft/SimMIM' if version == 1 else 'microsoft/Swin-Transformer'
    merged = 'layers.0.downsample.reduction.weight'  # at the end of the first stage
    infer = partial(_infer, version=version)
    make = partial(Family, model_config=partial(_model_config, version=version), infer=infer)
    return (
        make(
            f'simmim_swin{v}',
            f'SimMIM {title} ({repository})',
            rules=(family.MASK_TOKEN, *_rules(version, family.ENCODER), family.LINEAR_DECODER),
            detect=having(f'encoder.layers.0.blocks.0.attn.{mark}', 'encoder.mask_token'),
        ),
        make(
            f'swin{v}',
            f'{title}, trained with labels or fine-tuned (microsoft/Swin-Transformer)',
            rules=_rules(version),
            detect=having(f'layers.0.blocks.0.attn.{mark}', merged),
        ),
        make(
            f'timm_swin{v}',
            f'{title} of timm',
            rules=not_written(_rules(version, merging=_START)),
            detect=having(f'layers.0.blocks.0.attn.{mark}', without=merged),
        ),
        make(
            f'hf_swin{v}',
            f'{title} of transformers',
            rules=_hf_rules(version),
            detect=having(f'encoder.layers.0.blocks.0.attention.self.{mark}'),
            prefix=f'swin{v}.',
        ),
        make(
            'openmmlab_simmim' if version == 1 else 'openmmlab_swinv2',
            f'{title}{", SimMIM and others" * (version == 1)} of mmpretrain and mmselfsup',
            rules=family.OPENMMLAB_RULES,
            detect=having(f'{_BLOCK.format(i=0, j=0)}.{_ATTENTION}.{mark}'),
            infer=partial(infer, pretrained_at=192 if version == 1 else None),
        ),
    )


SIMMIM, MICROSOFT, TIMM, HUGGINGFACE, OPENMMLAB = _families(1)
SIMMIM_V2, MICROSOFT_V2, TIMM_V2, HUGGINGFACE_V2, OPENMMLAB_V2 = _families(2)

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
    config = dict(source.config, window_size=max(windows), img_size=export.plain_size(swin))
    if len(set(windows)) > 1:
        stages = config.get('stage_cfgs') or {}
        stages = [stages] * len(windows) if isinstance(stages, dict) else stages
        config['stage_cfgs'] = [{**s, 'window_size': w} for s, w in zip(stages, windows)]
    else:
        export.forget_stage_windows(config)
    state = export.without(swin.state_dict(), ['mask_token'])
    return Export('mmpretrain', 'SwinTransformer', config, state, swin)


def swin_v2_to_mmpretrain(source: Source) -> Export:
    """Without tables of positions: mmpretrain removes them and keeps its own."""
    swin = source.build()
    sizes = dict(window_size=list(swin.window_sizes), img_size=export.plain_size(swin))
    state = export.without(swin.state_dict(), ['mask_token', *_REBUILT])
    return Export('mmpretrain', 'SwinTransformerV2', {**source.config, **sizes}, state, swin)


def swin_to_mmdet(source: Source, target: str = 'mmdet') -> Export:
    """One window for all stages, maps padded to it.

    Without the index of relative positions: mmdet builds it, and fails on one of another size.
    """
    stages = tuple(range(len(swin_depths(source))))
    swin = source.build_for(target, pad_small_map=True, out_indices=stages)
    arguments = swin_arguments(swin)
    hidden, patch = arguments.pop('hidden'), arguments.pop('patch_size')
    arguments.update(
        mlp_ratio=export.whole_ratio(hidden, swin.embed_dims, target),
        window_size=stage_windows(swin)[0],
        out_indices=stages,
        patch_size=patch,
        strides=(patch,) + (2,) * (len(stages) - 1),
    )
    if target == 'mmdet':  # its base configs for Swin have it True
        arguments['convert_weights'] = False
    fresh = [f'norm{i}.' for i in stages if f'norm{i}.weight' not in source.state_dict]
    state = export.without(swin.state_dict(), ['mask_token', 'relative_position_index'])
    state = {k: v for k, v in state.items() if not k.startswith(tuple(fresh))}
    reasons = {f'{name}*': NORMS for name in fresh}
    notes = [f'The neck takes in_channels={[swin.embed_dims * 2**i for i in stages]}.']
    return Export(target, 'SwinTransformer', arguments, state, swin, reasons, notes)


def swin_to_mmseg(source: Source) -> Export:
    """As mmdet's, of which mmseg's is a copy."""
    return swin_to_mmdet(source, 'mmseg')


def swin_to_timm(source: Source) -> Export:
    """Windows are clamped to small maps there too."""
    return _to_timm(source, TIMM, 'swin_tiny_patch4_window7_224')


def swin_v2_to_timm(source: Source) -> Export:
    """As Swin, and with the windows of the pretraining if they differ."""
    result = _to_timm(source, TIMM_V2, 'swinv2_tiny_window8_256')
    result.arguments['pretrained_window_sizes'] = tuple(_trained_windows(source))
    return result


def _to_timm(source: Source, names: Family, architecture: str) -> Export:
    swin, window = _build_whole(source, 'timm')
    check_maps(swin, 'timm')
    known = swin_arguments(swin)
    arguments = dict(
        img_size=export.plain_size(swin),
        patch_size=known['patch_size'],
        in_chans=known['in_channels'],
        num_classes=0,
        embed_dim=swin.embed_dims,
        depths=known['depths'],
        num_heads=known['num_heads'],
        window_size=window,
        mlp_ratio=known['hidden'] / swin.embed_dims,
        qkv_bias=known['qkv_bias'],
    )
    state = export.renamed(swin, names)
    return Export('timm', architecture, arguments, state, swin, notes=[NO_CLASSIFIER])


def swin_to_huggingface(source: Source) -> Export:
    """The tables there have the full window in every stage."""
    swin, window = _build_whole(source, 'transformers')
    for own, _, stage in _stages(swin):
        if own != window:
            raise ExportError(
                f"{stage}, smaller than the window of {window}, which transformers' Swin cannot "
                'hold: give a larger --img-size or a smaller --window'
            )
    return _to_huggingface(swin, HUGGINGFACE, 'SwinModel', model_type='swin', window_size=window)


def swin_v2_to_huggingface(source: Source) -> Export:
    """Windows are clamped to small maps there too."""
    swin, window = _build_whole(source, 'transformers')
    for own, (h, w), stage in _stages(swin):
        if own != min(window, h, w) or (min(h, w) <= window and h != w):
            raise ExportError(
                f"{stage} and windows of {own}, which transformers' Swin v2 cannot hold: give a "
                'square --img-size, or one --window'
            )
    windows = dict(window_size=window, pretrained_window_sizes=_trained_windows(source))
    return _to_huggingface(swin, HUGGINGFACE_V2, 'Swinv2Model', model_type='swinv2', **windows)


def _to_huggingface(swin: Any, names: Family, architecture: str, **own: Any) -> Export:
    known = swin_arguments(swin)
    arguments = dict(
        image_size=list(export.image_size(swin)),
        patch_size=known['patch_size'],
        num_channels=known['in_channels'],
        embed_dim=swin.embed_dims,
        depths=list(known['depths']),
        num_heads=list(known['num_heads']),
        mlp_ratio=float(export.whole_ratio(known['hidden'], swin.embed_dims, 'transformers')),
        qkv_bias=known['qkv_bias'],
        layer_norm_eps=swin.stages[0].blocks[0].norm1.eps,
        **own,
    )
    return Export('huggingface', architecture, arguments, export.renamed(swin, names), swin)


def _build_whole(source: Source, library: str) -> tuple[Any, int]:
    """With windows clamped to small maps and the last map as output; and the largest window."""
    last = len(swin_depths(source)) - 1
    swin = source.build_for(library, pad_small_map=False, out_indices=(last,))
    return swin, source.config.get('window_size', max(stage_windows(swin)))


def _trained_windows(source: Source) -> list[int]:
    known = source.config.get('pretrained_window_sizes')
    return list(known or [0] * len(swin_depths(source)))


def stage_windows(swin: Any) -> list[int]:
    """Side of the windows of each stage, in tokens."""
    return [stage.blocks[0].attn.window_size for stage in swin.stages]


def stage_maps(swin: Any) -> list[tuple[int, int]]:
    """Height and width of the map of each stage, in tokens."""
    maps = [tuple(swin.patch_resolution)]
    while len(maps) < len(swin.stages):
        maps.append(tuple((n + 1) // 2 for n in maps[-1]))
    return maps


def _stages(swin: Any) -> Iterator[tuple[int, tuple[int, int], str]]:
    """Window and map of each stage, and how a message about it begins."""
    for i, (window, (h, w)) in enumerate(zip(stage_windows(swin), stage_maps(swin))):
        yield window, (h, w), f'stage {i + 1} has a map of {h}x{w} tokens'


def check_maps(swin: Any, library: str) -> None:
    """Refuse maps where windows are clamped but the map is not square, or do not divide it.

    There the library places its windows in another way than we do.
    """
    for window, (h, w), stage in _stages(swin):
        if min(h, w) <= window and h != w:
            raise ExportError(
                f'{stage} and windows of {window}: {library} shifts these along the longer side '
                'only. Give a square --img-size, or a smaller --window'
            )
        if min(h, w) > window and (h % window or w % window):
            raise ExportError(
                f'{stage}, which windows of {window} do not divide, and {library} pads it '
                'otherwise than we do. Give another --img-size or --window'
            )


def swin_arguments(swin: Any) -> dict[str, Any]:
    """What defines a Swin, under mmdet's names, but for ``hidden``, the width of the first MLP."""
    attention = [stage.blocks[0].attn.w_msa for stage in swin.stages]
    return dict(
        embed_dims=swin.embed_dims,
        depths=tuple(len(stage.blocks) for stage in swin.stages),
        num_heads=tuple(msa.num_heads for msa in attention),
        hidden=swin.stages[0].blocks[0].ffn.layers[1].in_features,
        qkv_bias=getattr(attention[0], 'q_bias', attention[0].qkv.bias) is not None,
        patch_size=swin.token_stride,
        in_channels=swin.patch_embed.projection.in_channels,
    )


def swin_depths(source: Source) -> tuple[int, ...]:
    """Blocks of each stage, counted in the weights."""
    return tuple(_depths(source.state_dict))


def _depths(weights: Mapping[str, Tensor], prefix: str = '') -> list[int]:
    stages = range(count(weights, rf'{prefix}stages\.(\d+)\.'))
    return [count(weights, rf'{prefix}stages\.{i}\.blocks\.(\d+)\.') for i in stages]
