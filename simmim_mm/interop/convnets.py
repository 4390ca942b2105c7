"""ConvNeXt (v1, v2) and ResNet of timm, torchvision, Facebook, transformers and mmpretrain."""

from collections.abc import Mapping
from functools import partial

from torch import Tensor

from simmim_mm.interop import family
from simmim_mm.interop.family import Family, count, having, shape
from simmim_mm.interop.keymap import Rule, block_rules

# ---- names ----
_NEXT = 'backbone.stages.{i}.{j}'
_STEM, _DOWN = 'backbone.downsample_layers.0', 'backbone.downsample_layers.{i}'
_FINAL = 'backbone.norm3.{rest}'


def _grn(source: str, names: tuple[str, str] = ('weight', 'bias')) -> tuple[Rule, ...]:
    """Global response normalization, whose parameters are ``(1, 1, 1, C)`` there."""
    return tuple(
        Rule(f'{source}.{name}', f'{_NEXT}.grn.{native}', Tensor.flatten, _with_four_axes)
        for name, native in zip(names, ('gamma', 'beta'))
    )


def _with_four_axes(x: Tensor) -> Tensor:
    return x.view(1, 1, 1, -1)


_TIMM_NEXT = (
    Rule('stem.0.{rest}', f'{_STEM}.0.{{rest}}'),
    Rule('stem.1.{rest}', f'{_STEM}.1.{{rest}}'),
    Rule('stages.{i}.downsample.{j}.{rest}', f'{_DOWN}.{{j}}.{{rest}}'),
    Rule('stages.{i}.blocks.{j}.gamma', f'{_NEXT}.gamma'),
    Rule('stages.{i}.blocks.{j}.mlp.grn.weight', f'{_NEXT}.grn.gamma'),
    Rule('stages.{i}.blocks.{j}.mlp.grn.bias', f'{_NEXT}.grn.beta'),
    *block_rules(
        'stages.{i}.blocks.{j}',
        _NEXT,
        (
            ('conv_dw', 'depthwise_conv'),
            ('norm', 'norm'),
            ('mlp.fc1', 'pointwise_conv1'),
            ('mlp.fc2', 'pointwise_conv2'),
        ),
    ),
    Rule('head.norm.{rest}', _FINAL),
)
_POINTWISE = (
    ('dwconv', 'depthwise_conv'),
    ('pwconv1', 'pointwise_conv1'),
    ('pwconv2', 'pointwise_conv2'),
)
_FACEBOOK_NEXT = (
    Rule('downsample_layers.{i}.{j}.{rest}', f'{_DOWN}.{{j}}.{{rest}}'),
    Rule('stages.{i}.{j}.gamma', f'{_NEXT}.gamma'),
    *_grn('stages.{i}.{j}.grn', ('gamma', 'beta')),
    *block_rules('stages.{i}.{j}', _NEXT, (*_POINTWISE, ('norm', 'norm'))),
    Rule('norm.{rest}', _FINAL),
)
_HF_BLOCK = 'encoder.stages.{i}.layers.{j}'
_HF_NEXT = (
    Rule('embeddings.patch_embeddings.{rest}', f'{_STEM}.0.{{rest}}'),
    Rule('embeddings.layernorm.{rest}', f'{_STEM}.1.{{rest}}'),
    Rule('encoder.stages.{i}.downsampling_layer.{j}.{rest}', f'{_DOWN}.{{j}}.{{rest}}'),
    Rule(f'{_HF_BLOCK}.layer_scale_parameter', f'{_NEXT}.gamma'),
    *_grn(f'{_HF_BLOCK}.grn'),
    *block_rules(_HF_BLOCK, _NEXT, (*_POINTWISE, ('layernorm', 'norm'))),
    Rule('layernorm.{rest}', _FINAL),
)


# ---- from other code ----
def _next_model(config: dict) -> dict:
    backbone = dict(
        type='MaskedConvNeXt',
        arch=dict(depths=config['depths'], channels=config['dims']),
        in_channels=config['in_chans'],
        stem_patch_size=config['patch_size'],
        use_grn=config['use_grn'],
        layer_scale_init_value=config['layer_scale'],
    )
    return family.simmim_model(backbone, config['dims'][-1], 8 * config['patch_size'])


def _infer_next(weights: Mapping[str, Tensor], hints: dict) -> dict:
    stages = count(weights, r'backbone\.stages\.(\d+)\.')
    _, in_chans, patch, _ = shape(weights, f'{_STEM}.0.weight')
    first = 'backbone.stages.{}.0.depthwise_conv.weight'
    return dict(
        in_chans=in_chans,
        patch_size=patch,
        depths=[count(weights, rf'backbone\.stages\.{i}\.(\d+)\.') for i in range(stages)],
        dims=[shape(weights, first.format(i))[0] for i in range(stages)],
        use_grn='backbone.stages.0.0.grn.gamma' in weights,
        layer_scale=1e-6 if 'backbone.stages.0.0.gamma' in weights else 0.0,
    )


# Blocks of each stage, whether they are bottlenecks, and the depth that names them.
_RESNETS: dict[tuple[tuple[int, ...], bool], int] = {
    ((2, 2, 2, 2), False): 18,
    ((3, 4, 6, 3), False): 34,
    ((3, 4, 6, 3), True): 50,
    ((3, 4, 23, 3), True): 101,
    ((3, 8, 36, 3), True): 152,
}


def _resnet_model(config: dict) -> dict:
    backbone = dict(
        type='MaskedResNet',
        depth=config['depth'],
        in_channels=config['in_chans'],
        base_channels=config['base_channels'],
        stem_channels=config['base_channels'],
    )
    width = config['base_channels'] * (4 if config['depth'] >= 50 else 1)
    return family.simmim_model(backbone, 8 * width, 32)


def _infer_resnet(weights: Mapping[str, Tensor], hints: dict) -> dict:
    blocks = tuple(count(weights, rf'backbone\.layer{i}\.(\d+)\.') for i in range(1, 5))
    bottleneck = 'backbone.layer1.0.conv3.weight' in weights
    base, in_chans, *_ = shape(weights, 'backbone.conv1.weight')
    # groups (ResNeXt) or another width (Wide ResNet)
    inner = shape(weights, 'backbone.layer1.0.conv2.weight')
    if (blocks, bottleneck) not in _RESNETS or inner[:2] != (base, base):
        raise ValueError(
            f'a residual network of {"-".join(map(str, blocks))} blocks whose inner convolutions '
            f'are {inner[0]} x {inner[1]} is not a plain ResNet (18, 34, 50, 101, 152)'
        )
    return dict(depth=_RESNETS[blocks, bottleneck], in_chans=in_chans, base_channels=base)


_next = partial(Family, model_config=_next_model, infer=_infer_next)
_resnet = partial(Family, model_config=_resnet_model, infer=_infer_resnet)
_RESNET_NAMES = ('conv1', 'bn1', 'layer{i}')
TIMM_NEXT = _next(
    'timm_convnext',
    'ConvNeXt of timm',
    rules=_TIMM_NEXT,
    detect=having('stem.0.weight', 'stages.0.blocks.0.conv_dw.weight'),
)
FACEBOOK_NEXT = _next(
    'convnext',
    'ConvNeXt (facebookresearch/ConvNeXt, ConvNeXt-V2)',
    rules=_FACEBOOK_NEXT,
    detect=having('downsample_layers.0.0.weight', 'stages.0.0.dwconv.weight'),
)
HUGGINGFACE_NEXT = _next(
    'hf_convnext',
    'ConvNeXt of transformers',
    rules=_HF_NEXT,
    detect=having('encoder.stages.0.layers.0.dwconv.weight'),
    prefix='convnext.',
)
OPENMMLAB_NEXT = _next(
    'openmmlab_convnext',
    'ConvNeXt of mmpretrain',
    rules=family.OPENMMLAB_RULES,
    detect=having('backbone.stages.0.0.depthwise_conv.weight'),
)
TIMM_RESNET = _resnet(
    'timm_resnet',
    'ResNet of timm and torchvision',
    rules=tuple(Rule(f'{n}.{{rest}}', f'backbone.{n}.{{rest}}') for n in _RESNET_NAMES),
    detect=having('conv1.weight', 'bn1.weight', 'layer1.0.conv1.weight'),
)
OPENMMLAB_RESNET = _resnet(
    'openmmlab_resnet',
    'ResNet of mmpretrain and mmselfsup',
    rules=family.OPENMMLAB_RULES,
    detect=having('backbone.conv1.weight', 'backbone.layer1.0.conv1.weight'),
)
