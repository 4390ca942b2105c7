"""Tiny backbones of every family that can be pruned, and what takes units out of them."""

from copy import deepcopy

import torch

from simmim_mm.models.backbones import (
    MaskedBEiT,
    MaskedConvNeXt,
    MaskedResNet,
    MaskedSwin,
    MaskedSwinV2,
    MaskedViT,
    WindowedViT,
)
from simmim_mm.models.backbones.units import keep_units

SWIN = dict(embed_dims=16, depths=[2, 1], num_heads=[2, 4])
VIT = dict(embed_dims=32, num_layers=2, num_heads=4, feedforward_channels=48)
CONVNEXT = dict(depths=[1, 2, 1, 1], channels=[8, 12, 16, 16])
MAPS = dict(out_indices=(0, 1), img_size=32, patch_size=2, window_size=4)
BACKBONES = {
    'swin': (MaskedSwin, dict(arch=SWIN, **MAPS)),
    'swin-gather': (MaskedSwin, dict(arch=SWIN, mask_mode='gather', **MAPS)),
    'swin-v2': (MaskedSwinV2, dict(arch=dict(SWIN, extra_norm_every_n_blocks=0), **MAPS)),
    'vit': (MaskedViT, dict(arch=VIT, img_size=32, patch_size=8)),
    'vit-gather': (MaskedViT, dict(arch=VIT, img_size=32, patch_size=8, mask_mode='gather')),
    'windowed-vit': (WindowedViT, dict(arch=VIT, img_size=32, patch_size=4, window_size=3)),
    'beit': (
        MaskedBEiT,
        dict(arch=VIT, img_size=32, patch_size=8, **MaskedBEiT.pruned_arguments),
    ),
    'convnext': (MaskedConvNeXt, dict(arch=CONVNEXT, out_indices=(0, 1, 2, 3))),
    'convnext-v2': (
        MaskedConvNeXt,
        dict(arch=CONVNEXT, use_grn=True, layer_scale_init_value=0.0, linear_pw_conv=False),
    ),
    'resnet-50': (MaskedResNet, dict(depth=50, base_channels=8, stem_channels=8)),
    'resnet-18': (MaskedResNet, dict(depth=18, base_channels=8, stem_channels=8, deep_stem=True)),
    'resnet-gn': (
        MaskedResNet,
        dict(depth=50, base_channels=16, stem_channels=16, norm_cfg=dict(type='GN', num_groups=8)),
    ),
}


def build(name: str):
    """A model in double precision with random numbers everywhere, statistics included."""
    kind, arguments = BACKBONES[name]
    torch.manual_seed(0)
    model = kind(**deepcopy(arguments)).double().eval()
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if key.endswith('running_var'):
                tensor.uniform_(0.5, 2)
            elif tensor.is_floating_point() and not key.endswith('coords_table'):
                tensor.add_(torch.randn_like(tensor) * 0.2)
    return model


def random_units(model) -> list[torch.Tensor]:
    """Some units of each group."""
    return [
        torch.randperm(group.count)[: 1 + i % max(1, group.count - 1)].sort()[0]
        for i, group in enumerate(model.unit_groups())
    ]


def pruned_to(model, kept: list[torch.Tensor]):
    """A copy with these units only."""
    pruned = deepcopy(model)
    for group, keep in zip(model.unit_groups(), kept):
        keep_units(pruned, group, keep)
    return pruned
