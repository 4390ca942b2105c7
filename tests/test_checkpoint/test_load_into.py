"""The one way to load weights: what is loaded, reported, and refused before anything changes."""

import pytest
import torch
from torch import nn

from simmim_mm.checkpoint import CheckpointError, LoadReport, load_into, write_checkpoint


class Resizing(nn.Module):
    """Its weight may be of any length: the first entries count."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n))

    def fit_state_dict(self, state_dict: dict, prefix: str = '') -> None:
        if f'{prefix}weight' in state_dict:
            state_dict[f'{prefix}weight'] = state_dict[f'{prefix}weight'][: len(self.weight)]


def model(n: int = 2) -> nn.Module:
    return nn.ModuleDict(dict(backbone=Resizing(n), neck=nn.Linear(2, 1)))


WEIGHTS = {
    'backbone.weight': torch.arange(3.0),
    'neck.weight': torch.ones(1, 2),
    'neck.bias': torch.ones(1),
}


def test_every_entry_is_in_the_report():
    weights = {**WEIGHTS, 'neck.more': torch.ones(1)}
    del weights['neck.bias']
    target = model()
    report = load_into(target, weights, file='a.pth')
    assert report.matched == ['neck.weight'] and report.missing == ['neck.bias']
    assert report.resized == {'backbone.weight': ((3,), (2,))}
    assert report.loaded == ['neck.weight', 'backbone.weight']
    assert report.unexpected == ['neck.more'] and not report.complete
    assert target['backbone'].weight.tolist() == [0, 1]
    assert str(report).splitlines() == [
        '2 of 3 weights loaded from a.pth (no prefix)',
        '  1 resized, such as backbone.weight: (3,) to (2,)',
        '  1 missing, left as initialized: neck.bias',
        '  1 unexpected, not used: neck.more',
    ]


@pytest.mark.parametrize('value', [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_refused_unless_they_are_not_used(value):
    target = model()
    spoiled = {**WEIGHTS, 'neck.weight': torch.tensor([[1.0, value]])}
    with pytest.raises(CheckpointError, match=r'a\.pth holds NaN or infinity in 1 of 3 .*neck'):
        load_into(target, spoiled, file='a.pth')
    assert target['backbone'].weight.tolist() == [0, 0]  # nothing was loaded
    load_into(Resizing(3), spoiled, 'backbone')


def test_the_mapping_is_left_as_it_was():
    load_into(model(), WEIGHTS)
    assert WEIGHTS['backbone.weight'].shape == (3,)


@pytest.mark.parametrize('prefix', ['backbone.', 'backbone', None])
def test_prefix(prefix):
    part = Resizing(3)
    report = load_into(part, WEIGHTS, prefix)
    assert report.matched == ['weight'] and report.prefix == 'backbone.' and report.outside == 2
    assert part.weight.tolist() == [0, 1, 2]


def test_files_are_read_without_running_them(tmp_path):
    write_checkpoint(dict(state_dict=WEIGHTS), tmp_path / 'new' / 'a.pth')
    report = load_into(model(3), tmp_path / 'new' / 'a.pth')
    assert report.complete and report.file.endswith('a.pth')
    with pytest.raises(FileNotFoundError, match=r'gone\.pth'):
        load_into(model(3), tmp_path / 'gone.pth')


def test_nothing_is_loaded_where_the_check_refuses():
    target = model()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}

    def check(report: LoadReport) -> None:
        raise CheckpointError(f'{len(report.matched)} are not enough')

    with pytest.raises(CheckpointError, match='2 are not enough'):
        load_into(target, WEIGHTS, check=check)
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.state_dict().items())


def test_another_shape_is_refused_or_left_out():
    weights = {**WEIGHTS, 'neck.bias': torch.ones(4)}
    with pytest.raises(CheckpointError, match=r'weights in a\.pth do not fit.*neck\.bias'):
        load_into(model(), weights, file='a.pth')
    report = load_into(model(3), weights, resize=False)
    assert report.mismatched == {'neck.bias': ((4,), (1,))} and len(report.matched) == 2
    assert '1 of another shape, not loaded: neck.bias: (4,) in the file, (1,) in' in str(report)
    assert list(load_into(model(), WEIGHTS, resize=False).mismatched) == ['backbone.weight']


def test_modules_of_other_libraries_fit_their_weights_as_they_load():
    class Cropping(nn.Linear):
        def _load_from_state_dict(self, state_dict, prefix, *args):
            state_dict[f'{prefix}bias'] = state_dict[f'{prefix}bias'][:1]
            super()._load_from_state_dict(state_dict, prefix, *args)

    weights = {'weight': torch.ones(1, 2), 'bias': torch.ones(4)}
    report = load_into(Cropping(2, 1), weights)
    assert report.resized == {'bias': ((4,), (1,))} and report.complete


def test_a_backbone_may_be_required():
    weights = {name: tensor for name, tensor in WEIGHTS.items() if name != 'backbone.weight'}
    with pytest.raises(CheckpointError, match=r'a\.pth lacks 1 weights of the encoder'):
        load_into(model(), weights, file='a.pth', check=LoadReport.require_backbone)


def test_names_are_listed_up_to_a_number():
    report = LoadReport(missing=[f'layer{i}' for i in range(5)])
    assert 'layer0, layer1, layer2, ...' in str(report) and 'layer3' not in str(report)
    report.listed = None
    assert 'layer4' in str(report)
