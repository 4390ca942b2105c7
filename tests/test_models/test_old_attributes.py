"""Attributes of version 0.1 go on working, in users' subclasses too, with a warning."""

import pytest
import torch

from simmim_mm import _renamed
from simmim_mm.models.data_preprocessor import MIMDataPreprocessor
from simmim_mm.models.losses import ColorBins, PixelCrossEntropy, PixelLoss
from simmim_mm.models.target_generators import HOG, TargetGenerator, TargetSequence, UnitRange


@pytest.fixture(autouse=True)
def _warn_again(monkeypatch):
    monkeypatch.setattr(_renamed, '_warned', set())


def test_targets_of_users_may_define_the_old_names():
    with pytest.warns(FutureWarning) as warned:

        class Edges(TargetGenerator):
            takes_pixels = True
            gives = 'normalised'  # codespell:ignore
            drawable = False

            def forward(self, x):
                return x

    texts = [str(warning.message) for warning in warned]
    assert [text.split(' is now ')[0] for text in texts] == [
        'Edges.gives', 'Edges.takes_pixels', 'Edges.drawable',
    ]  # fmt: skip
    assert 'Edges.value_range' in texts[0]
    assert (Edges.requires_pixels, Edges.value_range, Edges.invertible) == (
        True,
        'normalized',
        False,
    )
    sequence = TargetSequence([Edges()])
    assert sequence.value_range == 'normalized' and not sequence.invertible
    with pytest.raises(ValueError, match='needs pixels, but after UnitRange'):
        TargetSequence([UnitRange(), Edges()])


@pytest.mark.parametrize(
    ('read', 'value'),
    [
        (lambda: HOG.gives, 'features'),
        (lambda: HOG().takes_pixels, True),
        (lambda: TargetSequence([HOG()]).drawable, False),
        (lambda: TargetSequence([HOG()]).gives, 'features'),
        (lambda: PixelCrossEntropy.target_gives, 'unit'),
        (lambda: ColorBins(bins=2).centres()[0], 63.5 / 255),  # codespell:ignore
    ],
)
def test_old_names_are_read_with_one_warning(read, value):
    with pytest.warns(FutureWarning, match='is now') as warned:
        assert read() == value == read()
    assert len(warned) == 1


def test_an_old_name_can_be_set():
    target = UnitRange()
    with pytest.warns(FutureWarning):
        target.drawable = False
    assert target.invertible is False and UnitRange.invertible is True


def test_losses_of_users_may_define_the_old_name():
    with pytest.warns(FutureWarning, match='target_value_range'):

        class Own(PixelLoss):
            target_gives = 'unit'

    assert Own.target_value_range == Own().target_value_range == 'unit'


def test_old_methods_can_be_called_and_overridden():
    preprocessor = MIMDataPreprocessor([10.0], [2.0])
    x = torch.full((1, 1, 2, 2), 14.0)
    with pytest.warns(FutureWarning, match='normalise is now'):  # codespell:ignore
        assert torch.equal(preprocessor.normalise(x), (x - 10) / 2)  # codespell:ignore
    with pytest.warns(FutureWarning, match='denormalise is now'):  # codespell:ignore
        assert torch.equal(preprocessor.denormalise(x), x * 2 + 10)  # codespell:ignore

    message = r'Halved\.normalise is now Halved\.normalize'  # codespell:ignore
    with pytest.warns(FutureWarning, match=message):

        class Halved(MIMDataPreprocessor):
            def normalise(self, x):  # codespell:ignore
                return super().normalise(x) / 2  # codespell:ignore

    halved = Halved([10.0], [2.0])
    expected = torch.ones(1, 1, 2, 2)
    assert torch.equal(halved.normalize(x), expected)
    assert torch.equal(halved.normalise(x), expected)  # codespell:ignore
    assert torch.equal(halved(dict(inputs=[x[0]]))['inputs'], expected)
