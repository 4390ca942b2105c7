"""What a pruned network costs, how much units matter, and which of them go."""

from copy import deepcopy

import pytest
import torch
from pruning_toys import BACKBONES, build, pruned_to, random_units

from simmim_mm.compression.importance import loss_importance, weight_importance
from simmim_mm.compression.operations import count_operations
from simmim_mm.compression.selection import Costs, select_units
from simmim_mm.models.backbones.units import Part, UnitGroup

SHAPE = (1, 3, 32, 32)


def test_operations_are_those_of_the_formula():
    """A ViT of 2 blocks on 16 patches and a class token, attention included."""
    n, c, hidden = 17, 32, 48
    block = n * c * 3 * c + 2 * n * n * c + n * c * c + 2 * n * c * hidden
    assert count_operations(build('vit'), SHAPE) == 16 * 3 * 64 * c + 2 * block


@pytest.mark.parametrize('name', BACKBONES)
def test_costs_are_those_of_the_pruned_network(name):
    model = build(name)
    groups, kept = model.unit_groups(), random_units(model)
    pruned, counts = pruned_to(model, kept), [len(keep) for keep in kept]
    operations = Costs.of_operations(model, groups, SHAPE)
    assert operations.total() == count_operations(model, SHAPE)
    assert operations.total(counts) == pytest.approx(count_operations(pruned, SHAPE), abs=1e-3)
    parameters = Costs.of_parameters(model, groups)
    number = sum(p.numel() for p in pruned.parameters())
    assert parameters.total(counts) == pytest.approx(number, abs=1e-3)


@pytest.mark.parametrize('name', ['swin', 'vit', 'convnext', 'resnet-50'])
def test_importance_is_the_squared_derivative_by_a_factor_of_the_unit(name):
    model, images = build(name), torch.randn(2, *SHAPE[1:]).double()
    groups = model.unit_groups()

    def loss(network) -> torch.Tensor:
        return network(images)[-1].square().mean()

    found = loss_importance(model, groups, lambda: [loss(model), loss(model) * 3])
    for group, values in list(zip(groups, found))[:4]:
        unit, sides = group.count - 1, []
        for factor in (1 + 1e-5, 1 - 1e-5):
            scaled = deepcopy(model)
            weight = scaled.get_parameter(group.parts[-1].tensor)
            index = group.index(weight, group.parts[-1], torch.tensor([unit]))
            weight.data[:, index] *= factor
            sides.append(loss(scaled).item())
        derivative = (sides[0] - sides[1]) / 2e-5
        assert values[unit].item() == pytest.approx((1 + 9) / 2 * derivative**2, rel=1e-3)
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_importance_by_weights_is_that_of_both_layers():
    model = build('vit')
    heads, channels = model.unit_groups()[:2]
    first, second = model.layers[0].ffn.layers[0][0].weight, model.layers[0].ffn.layers[1].weight
    expected = first.norm(dim=1) * second.norm(dim=0)
    torch.testing.assert_close(weight_importance(model, channels), expected / expected.mean())
    qkv, proj = model.layers[0].attn.qkv.weight, model.layers[0].attn.proj.weight
    qkv = qkv.view(3, 4, 8, 32).transpose(0, 1).flatten(1).norm(dim=1)
    expected = qkv * proj.view(32, 4, 8).transpose(0, 1).flatten(1).norm(dim=1)
    torch.testing.assert_close(weight_importance(model, heads), expected / expected.mean())


def toy_groups(*counts: int, step: int) -> list[UnitGroup]:
    parts = (Part('a.weight'), Part('b.weight', 1))
    return [UnitGroup('widths', (i,), count, parts, step=step) for i, count in enumerate(counts)]


def test_the_lowest_scores_go_first_and_no_more_than_needed():
    costs = Costs([(1000, []), (1600, [0]), (3200, [1])], [16, 32])
    groups = toy_groups(16, 32, step=2)
    scores = [torch.arange(16.0), torch.arange(32.0) + 8]
    kept = select_units(groups, scores, costs, 4000 / 5800)
    gone = [sorted(set(range(n)) - set(k.tolist())) for n, k in zip((16, 32), kept)]
    assert gone == [list(range(12)), list(range(6))]  # 18 units of 100 each; ties are of score 9
    assert costs.total([len(k) for k in kept]) <= 4000


def test_channels_go_by_the_step_of_their_group():
    """Of convolutions by 16, as AVX-512 has them; of small groups by an eighth."""
    groups = build('resnet-50').unit_groups()
    assert {group.step for group in groups} == {16}
    costs = Costs([(6400, [0]), (1600, [1])], [64, 16])
    for ratio, expected in ((0.9, [48, 16]), (0.7, [32, 16]), (0.5, [32, 8])):
        scores = [torch.arange(64.0), torch.arange(16.0) + 24]
        kept = select_units(toy_groups(64, 16, step=16), scores, costs, ratio)
        assert [len(k) for k in kept] == expected


def test_an_eighth_of_each_block_stays_and_less_is_refused():
    groups, costs = toy_groups(16, 32, step=1), Costs([(1600, [0]), (3200, [1])], [16, 32])
    scores = [torch.arange(16.0), torch.arange(32.0)]
    assert [len(k) for k in select_units(groups, scores, costs, 0.125)] == [2, 4]
    with pytest.raises(ValueError, match=r'0\.125 is left when every block keeps an eighth'):
        select_units(groups, scores, costs, 0.1)
