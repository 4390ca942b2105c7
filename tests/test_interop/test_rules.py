import torch
from torch.testing import assert_close

from simmim_mm.interop.keymap import Rule, apply_rules, undo_rules

RULES = (
    Rule('old.layers.{i}.down.{rest}', 'new.stages.{i+1}.down.{rest}'),
    Rule(
        'old.layers.{i}.blocks.{j}.w',
        'new.stages.{i}.blocks.{j}.v',
        lambda x: x + 1,
        lambda x: x - 1,
    ),
    Rule('old.layers.{i}.index', 'new.stages.{i}.index', regenerated=True),
    Rule('old.{rest}', 'new.rest.{rest}'),
)


def test_names_tensors_and_what_is_left():
    state = {
        'old.layers.10.down.a.b': torch.tensor(1.0),
        'old.layers.3.blocks.12.w': torch.tensor(2.0),
        'old.layers.0.index': torch.tensor(3.0),
        'old.x': torch.tensor(4.0),
        'other.x': torch.tensor(5.0),
    }
    result = apply_rules(RULES, state, 'test')
    assert result.state_dict == {
        'new.stages.11.down.a.b': 1.0,
        'new.stages.3.blocks.12.v': 3.0,
        'new.rest.x': 4.0,
    }
    assert result.mapped['new.stages.11.down.a.b'] == 'old.layers.10.down.a.b'
    assert result.regenerated == ['old.layers.0.index']
    assert result.left_over == ['other.x']
    restored = undo_rules(RULES, result.state_dict)
    assert restored == {k: state[k] for k in restored} and len(restored) == 3


def test_fields_are_numbers_and_dots_are_dots():
    assert RULES[1].rename('old.layers.a.blocks.0.w') is None
    assert RULES[1].rename('oldxlayers.0.blocks.0.w') is None
    assert RULES[1].rename('old.layers.0.blocks.0.w.more') is None


def test_merged_channels_go_where_unfold_puts_them():
    # the authors: cat of [::2, ::2], [1::2, ::2], [::2, 1::2], [1::2, 1::2] along the channels
    from simmim_mm.interop.swin import from_unfold, to_unfold

    x = torch.randn(1, 5, 2, 2)
    theirs = torch.cat([x[..., 0, 0], x[..., 1, 0], x[..., 0, 1], x[..., 1, 1]], dim=1)
    ours = torch.nn.functional.unfold(x, 2, stride=2)[..., 0]
    assert_close(to_unfold(theirs), ours)
    weight = torch.randn(7, 20)
    assert_close(ours @ to_unfold(weight).T, theirs @ weight.T)
    assert torch.equal(from_unfold(to_unfold(weight)), weight)
