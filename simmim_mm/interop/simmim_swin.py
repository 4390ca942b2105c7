"""SimMIM's Swin (microsoft/SimMIM) and Swin v2 (microsoft/Swin-Transformer)."""

from collections.abc import Mapping, Sequence
from functools import partial

from torch import Tensor

from simmim_mm.interop.common import (
    UNKNOWN,
    block_rules,
    count,
    data_preprocessor,
    settle,
    shape,
    side,
)
from simmim_mm.interop.families import Family
from simmim_mm.interop.rules import Rule


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
_BLOCK = 'encoder.layers.{i}.blocks.{j}', 'backbone.stages.{i}.blocks.{j}'
_INDEX = ('relative_position_index', 'relative_coords_table')
_RULES = (
    Rule('encoder.mask_token', 'backbone.mask_token'),
    Rule('encoder.absolute_pos_embed', 'backbone.absolute_pos_embed'),
    Rule('encoder.patch_embed.proj.{rest}', 'backbone.patch_embed.projection.{rest}'),
    Rule('encoder.patch_embed.norm.{rest}', 'backbone.patch_embed.norm.{rest}'),
    *(
        Rule(f'{_BLOCK[0]}.attn.{name}', f'{_BLOCK[1]}.attn.w_msa.{name}', regenerated=True)
        for name in _INDEX
    ),
    Rule(f'{_BLOCK[0]}.attn_mask', regenerated=True),
    *block_rules(
        *_BLOCK,
        (
            ('norm1', 'norm1'),
            ('norm2', 'norm2'),
            ('attn', 'attn.w_msa'),
            ('mlp.fc1', 'ffn.layers.0.0'),
            ('mlp.fc2', 'ffn.layers.1'),
        ),
    ),
    Rule('encoder.norm.{rest}', 'backbone.norm3.{rest}'),
    Rule('decoder.0.{rest}', 'neck.decoder.0.{rest}'),
)


def merge_rules(theirs: str, ours: str, permuted: Sequence[str]) -> tuple[Rule, ...]:
    """Rules of the patch merging of a stage, whose parameters ``permuted`` are in another order."""
    theirs, ours = f'{theirs}.downsample.', f'backbone.{ours}.downsample.'
    moves = [Rule(theirs + n, ours + n, to_unfold, from_unfold) for n in permuted]
    return (*moves, Rule(theirs + '{rest}', ours + '{rest}'))


def _model_config(config: dict, version: int) -> dict:
    enc, stride = config['encoder'], config['encoder_stride']
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
    patch = config.get('norm_target_patch')
    return dict(
        type='MaskedImageModel',
        data_preprocessor=data_preprocessor(enc['in_chans']),
        backbone=backbone,
        neck=dict(
            type='PixelShuffleDecoder',
            in_channels=enc['embed_dim'] * 2 ** (len(enc['depths']) - 1),
            stride=stride,
            out_channels=enc['in_chans'],
        ),
        head=dict(type='PixelHead', loss=dict(type='MaskedPixelLoss', criterion='l1')),
        target=[dict(type='LocalNorm', patch_size=patch)] if patch else [],
    )


def _infer_config(state: Mapping[str, Tensor], hints: dict, version: int) -> dict:
    dims, in_chans, patch, _ = shape(state, 'encoder.patch_embed.proj.weight')
    stages = count(state, r'encoder\.layers\.(\d+)\.')
    depths = [count(state, rf'encoder\.layers\.{i}\.blocks\.(\d+)\.') for i in range(stages)]
    first = [f'encoder.layers.{i}.blocks.0.attn' for i in range(stages)]
    if version == 1:
        tables = [shape(state, f'{name}.relative_position_bias_table') for name in first]
        windows = [(side(rows, 'position biases') + 1) // 2 for rows, _ in tables]
        heads = [n for _, n in tables]
    else:
        index = [state.get(f'{n}.relative_position_index') for n in first]
        windows = [side(len(table), 'tokens') for table in index if table is not None]
        heads = [len(state[f'{name}.logit_scale']) for name in first]
    hidden = shape(state, 'encoder.layers.0.blocks.0.mlp.fc1.weight')[0]
    qkv_bias = 'qkv.bias' if version == 1 else 'q_bias'
    stored = hints.get('DATA', {}).get('IMG_SIZE')  # of the config in official files
    encoder = dict(
        img_size=stored or (_image_size(state, windows, patch) if windows else UNKNOWN),
        patch_size=patch,
        in_chans=in_chans,
        embed_dim=dims,
        depths=depths,
        num_heads=heads,
        window_size=max(windows, default=UNKNOWN),
        mlp_ratio=hidden / dims,
        qkv_bias=f'{first[0]}.{qkv_bias}' in state,
        ape='encoder.absolute_pos_embed' in state,
        patch_norm='encoder.patch_embed.norm.weight' in state,
        drop_path_rate=0.0,
    )
    if version == 2:  # of another window than now, where weights were fine-tuned
        encoder['pretrained_window_sizes'] = [0] * stages
    config = dict(encoder=settle(encoder, hints), encoder_stride=patch * 2 ** (stages - 1))
    if version == 2:
        norm = hints.get('MODEL', {}).get('SIMMIM', {}).get('NORM_TARGET', {})
        patch_size = norm.get('PATCH_SIZE', 47) if norm.get('ENABLE', True) else None
        config['norm_target_patch'] = hints.get('norm_target_patch', patch_size)
    return config


def _image_size(state: Mapping[str, Tensor], windows: list[int], patch: int) -> int:
    """From the number of windows that a stored attention mask covers, or a clamped window."""
    for i, window in enumerate(windows):
        mask = state.get(f'encoder.layers.{i}.blocks.1.attn_mask')
        if mask is not None:
            return side(len(mask), 'windows') * window * patch * 2**i
    # without shifted windows every map fits into one window, and the clamped one equals its map
    return windows[-1] * patch * 2 ** (len(windows) - 1)


def _detect(state: Mapping[str, Tensor], mark: str) -> bool:
    return f'encoder.layers.0.blocks.0.attn.{mark}' in state and 'encoder.mask_token' in state


V1 = Family(
    name='simmim_swin',
    title='SimMIM Swin (microsoft/SimMIM)',
    rules=(
        *merge_rules(
            'encoder.layers.{i}', 'stages.{i}', ('reduction.weight', 'norm.weight', 'norm.bias')
        ),
        *_RULES,
    ),
    detect=partial(_detect, mark='relative_position_bias_table'),
    model_config=partial(_model_config, version=1),
    infer_config=partial(_infer_config, version=1),
)
V2 = Family(
    name='simmim_swinv2',
    title='SimMIM Swin v2 (microsoft/Swin-Transformer)',
    # merging stands before the stage's blocks in mmpretrain's Swin v2, and its norm comes after it
    rules=(
        *merge_rules('encoder.layers.{i}', 'stages.{i+1}', ('reduction.weight',)),
        *_RULES,
    ),
    detect=partial(_detect, mark='logit_scale'),
    model_config=partial(_model_config, version=2),
    infer_config=partial(_infer_config, version=2),
)
