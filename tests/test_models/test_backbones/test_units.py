"""Pruned backbones: what is left computes as the whole with the other units at zero."""

from copy import deepcopy

import pytest
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
from simmim_mm.models.backbones.units import keep_units, unit_counts, zero_units

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
    'beit': (MaskedBEiT, dict(arch=VIT, img_size=32, patch_size=8)),
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


@pytest.fixture(params=BACKBONES)
def dense(request):
    """Class, arguments, and a model with random numbers everywhere, statistics included."""
    kind, arguments = BACKBONES[request.param]
    torch.manual_seed(0)
    model = kind(**deepcopy(arguments)).double().eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point() and not name.endswith(('coords_table', 'running_var')):
                tensor.add_(torch.randn_like(tensor) * 0.2)
            elif name.endswith('running_var'):
                tensor.uniform_(0.5, 2)
    return kind, arguments, model


def prune_at_random(model):
    """Copies of a model: with units taken out, and with the same units at zero."""
    pruned, zeroed = deepcopy(model), deepcopy(model)
    for i, group in enumerate(model.unit_groups()):
        keep = torch.randperm(group.count)[: 1 + i % max(1, group.count - 1)].sort()[0]
        others = [u for u in range(group.count) if u not in keep]
        keep_units(pruned, group, keep)
        zero_units(zeroed, group, torch.tensor(others))
    return pruned, zeroed


def test_what_is_left_computes_as_the_whole_with_the_others_at_zero(dense):
    model = dense[2]
    pruned, zeroed = prune_at_random(model)
    for batch in (1, 2):
        images = torch.randn(batch, 3, 32, 32).double()
        for ours, expected, whole in zip(pruned(images), zeroed(images), model(images)):
            torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)
            assert (ours - whole).abs().max() > 1e-3


def test_an_ordinary_backbone_takes_the_weights_and_trains(dense):
    kind, arguments, model = dense
    pruned, _ = prune_at_random(model)
    built = kind(**deepcopy(arguments), **unit_counts(pruned.unit_groups())).double()
    built.load_state_dict(pruned.state_dict())
    images = torch.randn(2, 3, 32, 32).double()
    built.eval()
    for ours, expected in zip(built(images), pruned(images)):
        torch.testing.assert_close(ours, expected, rtol=0, atol=0)
    assert built.out_channels == model.out_channels
    sum(out.sum() for out in built.train()(images)).backward()
    for group in built.unit_groups():
        for part in group.parts:
            tensor = dict(built.named_parameters()).get(part.tensor)
            assert tensor is None or tensor.grad is not None, part.tensor
