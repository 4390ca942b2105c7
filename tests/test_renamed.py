"""Names of version 0.1 go on working, with one warning that says the new one."""

import importlib
import subprocess
import sys
import warnings

import pytest

from simmim_mm import _renamed
from simmim_mm._renamed import MODULES, NAMES, TYPES, old_names, renamed_arguments, warn_renamed


@pytest.fixture(autouse=True)
def nothing_warned_yet(monkeypatch):
    monkeypatch.setattr(_renamed, '_warned', set())


def test_a_name_is_warned_of_once():
    with pytest.warns(FutureWarning, match='a is now b; the old name works until simmim_mm 1.0'):
        warn_renamed('a', 'b')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        warn_renamed('a', 'b')


@pytest.mark.parametrize('old', sorted(MODULES))
def test_modules_that_have_moved_import_by_their_old_paths(old):
    module = importlib.import_module(f'simmim_mm.{old}')
    with pytest.raises(AttributeError, match='no_such_name'):
        _ = module.no_such_name
    for new in MODULES[old]:
        importlib.import_module(f'simmim_mm.{new}')


def test_old_paths_hand_out_the_new_things():
    from simmim_mm.checkpoint import load_weights

    with pytest.warns(FutureWarning, match='simmim_mm.checkpoint.load_weights'):
        from simmim_mm.convert import load_weights as old
    assert old is load_weights


def test_old_paths_cost_nothing_until_they_are_used():
    code = 'import sys, simmim_mm.convert.rules; print("torch" in sys.modules)'
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert result.stdout.strip() == 'False', result.stderr


def test_names_that_changed_in_their_module():
    from simmim_mm.models import losses

    with pytest.warns(FutureWarning, match=r'losses\.ColourBins is now .*losses\.ColorBins'):
        assert losses.ColourBins is losses.ColorBins
    with pytest.raises(AttributeError, match='no attribute'):
        old_names('math')('no_such_name')


@pytest.mark.parametrize('old', sorted(TYPES))
def test_old_types_build_from_any_registry(old):
    from mmengine.registry import MODELS as ROOT

    from simmim_mm.registry import MODELS

    with pytest.warns(FutureWarning, match=TYPES[old]):
        assert ROOT.get(f'simmim_mm.{old}') is MODELS.get(TYPES[old])
    assert old in NAMES


def test_arguments_and_values_that_changed():
    @renamed_arguments(values={'mode': {'centre': 'center'}}, bands='channels', stride=None)
    class Thing:
        def __init__(self, channels: int, mode: str = 'center') -> None:
            self.channels, self.mode = channels, mode

    with pytest.warns(FutureWarning) as caught:
        thing = Thing(bands=3, mode='centre', stride=4)
    assert (thing.channels, thing.mode) == (3, 'center')
    messages = sorted(str(one.message) for one in caught)
    assert [m.split(';')[0] for m in messages] == [
        'Thing(bands=...) is now channels=...',
        "Thing(mode='centre') is now 'center'",
        'Thing(stride=...) is no longer needed: leave it out',
    ]
    with pytest.raises(TypeError, match='both channels and its old name bands'):
        Thing(channels=1, bands=2)


def test_arguments_of_functions_and_names_that_moved_to_another_module():
    @renamed_arguments(bands='channels')
    def double(channels: int) -> int:
        return 2 * channels

    with pytest.warns(FutureWarning, match=r'double\(bands=...\) is now channels=...'):
        assert double(bands=3) == double(3) == 6

    from simmim_mm.engine.checks import check_dataset

    with pytest.warns(FutureWarning, match=r'is now simmim_mm\.engine\.checks\.check_dataset'):
        from simmim_mm.datasets import check_dataset as old
    assert old is check_dataset
