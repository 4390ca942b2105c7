"""Pruned backbones: what is left computes as the whole with the other units at zero."""

from copy import deepcopy

import pytest
import torch
from pruning_toys import BACKBONES, build, pruned_to, random_units

from simmim_mm.models.backbones import MaskedBEiT, MaskedResNet, MaskedSwin, MaskedViT
from simmim_mm.models.backbones.units import unit_counts, zero_units

SHARED = dict(use_rel_pos_bias=False, use_shared_rel_pos_bias=True)


@pytest.mark.parametrize('name', BACKBONES)
def test_what_is_left_computes_as_the_whole_with_the_others_at_zero(name):
    model = build(name)
    kept = random_units(model)
    pruned, zeroed = pruned_to(model, kept), deepcopy(model)
    for group, keep in zip(model.unit_groups(), kept):
        others = sorted(set(range(group.count)) - set(keep.tolist()))
        zero_units(zeroed, group, torch.tensor(others))
    for batch in (1, 2):
        images = torch.randn(batch, 3, 32, 32).double()
        for ours, expected, whole in zip(pruned(images), zeroed(images), model(images)):
            torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)
            assert (ours - whole).abs().max() > 1e-3


@pytest.mark.parametrize('name', BACKBONES)
def test_an_ordinary_backbone_takes_the_weights_and_trains(name):
    model = build(name)
    pruned = pruned_to(model, random_units(model))
    kind, arguments = BACKBONES[name]
    built = kind(**deepcopy(arguments), **unit_counts(pruned.unit_groups())).double()
    built.load_state_dict(pruned.state_dict())
    images = torch.randn(2, 3, 32, 32).double()
    for ours, expected in zip(built.eval()(images), pruned(images)):
        torch.testing.assert_close(ours, expected, rtol=0, atol=0)
    assert built.out_channels == model.out_channels
    sum(out.sum() for out in built.train()(images)).backward()
    weights = dict(built.named_parameters())
    for part in (part for group in built.unit_groups() for part in group.parts):
        assert part.tensor not in weights or weights[part.tensor].grad is not None, part.tensor


def test_numbers_have_the_form_of_the_blocks():
    """Swin's by stage and block, a ViT's by block, a ResNet's by the convolutions of blocks."""
    assert unit_counts(build('swin').unit_groups()) == dict(
        num_heads=[[2, 2], [4]], mlp_widths=[[64, 64], [128]]
    )
    assert unit_counts(build('vit').unit_groups()) == dict(num_heads=[4, 4], mlp_widths=[48, 48])
    widths = unit_counts(build('resnet-18').unit_groups())['block_widths']
    assert widths == [[[c]] * 2 for c in (8, 16, 32, 64)]
    assert unit_counts(build('resnet-gn').unit_groups())['block_widths'][0][0] == [16, 16]


@pytest.mark.parametrize(
    ('kind', 'name', 'wrong', 'message'),
    [
        (MaskedSwin, 'swin', dict(num_heads=[[2, 2]]), r'is not of the form of \[\[2, 2\], \[4\]'),
        (MaskedSwin, 'swin', dict(mlp_widths=64), 'is not of the form of'),
        (MaskedViT, 'vit', dict(num_heads=[4, 5]), r'5 at \[1\] is not from 1 to 4'),
        (MaskedViT, 'vit', dict(mlp_widths=[0, 8]), r'0 at \[0\] is not from 1 to 48'),
        (MaskedBEiT, 'beit', dict(num_heads=[2, 2], **SHARED), 'needs use_rel_pos_bias=True'),
        (MaskedResNet, 'resnet-gn', 5, 'is not from 2 to 16 in steps of 2'),
    ],
)
def test_wrong_numbers(kind, name, wrong, message):
    if wrong == 5:
        widths = unit_counts(build(name).unit_groups())['block_widths']
        widths[0][0][0] = wrong
        wrong = dict(block_widths=widths)
    with pytest.raises(ValueError, match=message):
        kind(**{**deepcopy(BACKBONES[name][1]), **wrong})
