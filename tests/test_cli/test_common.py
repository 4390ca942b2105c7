import importlib.util
import itertools
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import Registry
from torch.utils.data import DataLoader, Dataset

from simmim_mm.cli import common
from simmim_mm.cli.common import load_config, run_tool
from simmim_mm.engine.hooks import NonFiniteLossError
from simmim_mm.masking import patchify, visible_ids


class _Broken(Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        raise NonFiniteLossError('the message')


class _Base:
    def __init__(self, size):
        self.size = size


class _Child(_Base):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)


class _Faulty:
    def __init__(self):
        self.called()

    def called(self):
        _Base(width=3)


def _build(**settings):
    return Registry('thing').build(settings)


def _mistakes():
    for cls in (_Base, _Child):  # in its own __init__, or in that of its parent
        yield lambda cls=cls: _build(type=cls, sizes=3), "keyword argument 'sizes'"
        yield lambda cls=cls: _build(type=cls), "argument: 'size'"
    yield lambda: Path('no_such_file').read_text(), 'no_such_file'
    yield lambda: patchify(torch.zeros(1, 3, 5, 5), 2), '5x5 pixels are not whole 2-pixel patches'
    yield lambda: Registry('thing').build(dict(type='Nothing')), 'Nothing is not in the'
    yield lambda: list(DataLoader(_Broken(), num_workers=1)), 'the message'


@pytest.mark.parametrize('body, message', _mistakes())
@pytest.mark.parametrize('rank', [0, 1])
def test_mistakes_of_the_user_take_one_line_of_the_first_process(
    body, message, rank, capsys, monkeypatch
):
    monkeypatch.delenv('SIMMIM_MM_DEBUG', raising=False)
    with pytest.raises(SystemExit) as stop:
        run_tool(body, rank)
    assert stop.value.code == 2
    shown = capsys.readouterr().err.splitlines()
    if rank:
        assert not shown
    else:
        assert shown[0].startswith('error: ') and message in shown[0] and len(shown) == 2

    monkeypatch.setenv('SIMMIM_MM_DEBUG', '1')
    with pytest.raises(Exception, match=message):
        run_tool(body, rank)


@pytest.mark.parametrize(
    'body, error',
    [
        (lambda: 1 / 0, ZeroDivisionError),
        (lambda: np.zeros(2) + np.zeros(3), ValueError),
        # raised by torch inside our function, not by us
        (lambda: visible_ids(torch.zeros(2, 3)), TypeError),
        (lambda: {}['key'], KeyError),
        (lambda: _build(type=_Faulty), TypeError),
    ],
)
def test_other_errors_keep_their_traceback(body, error):
    with pytest.raises(error):
        run_tool(body)


@pytest.mark.parametrize('place', ['simmim_mm/.venv/lib/python3/site-packages/other', 'tools'])
def test_an_error_of_a_package_below_our_folder_is_not_ours(tmp_path, place):
    file = tmp_path / place / 'inside.py'
    file.parent.mkdir(parents=True)
    file.write_text("def fail():\n    raise ValueError('unknown thing')\n")
    spec = importlib.util.spec_from_file_location('other_inside', file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.raises(ValueError, match='unknown thing'):
        run_tool(module.fail)


def test_a_line_a_minute_takes_the_place_of_a_bar(capsys, monkeypatch):
    """Where there is no terminal; of the first image after a minute on."""
    clock = itertools.count(0, 25)
    monkeypatch.setattr('time.monotonic', lambda: float(next(clock)))
    with common.progress_ticks('scanning') as tick:
        for _ in range(8):
            tick(100, 5)
    lines = capsys.readouterr().out.splitlines()
    wanted = r'scanning: \d+ of 100, about \d+ (s|min) left'
    assert 1 < sum(bool(re.fullmatch(wanted, line)) for line in lines) < 4


def test_similar_config_names_are_offered(tmp_path, monkeypatch):
    (tmp_path / 'configs' / 'simmim').mkdir(parents=True)
    (tmp_path / 'configs' / '_base_').mkdir()
    (tmp_path / 'configs' / 'simmim' / 'simmim_swin-tiny.py').write_text('lr = 1')
    (tmp_path / 'configs' / '_base_' / 'simmim_swin.py').touch()
    monkeypatch.chdir(tmp_path)
    meant = 'did you mean configs/simmim/simmim_swin-tiny.py'  # first; then installed ones
    for wrong in (
        'simmim_swin-tny.py',
        'configs/simmim/swin-tiny.py',
        'configs/sim/simmim_swin.py',
    ):
        with pytest.raises(FileNotFoundError) as error:
            load_config(wrong)
        assert meant in str(error.value) and '_base_' not in str(error.value)
    assert load_config('configs/simmim/simmim_swin-tiny.py').lr == 1


@pytest.mark.parametrize('cls', [_Base, _Child])
@pytest.mark.parametrize('wrong', ['sizes', 'milestones'])
def test_a_setting_of_a_like_name_is_offered(cls, wrong, capsys, monkeypatch):
    monkeypatch.delenv('SIMMIM_MM_DEBUG', raising=False)
    with pytest.raises(SystemExit):
        run_tool(lambda: _build(type=cls, **{wrong: 3}))
    text = capsys.readouterr().err
    assert ("; do you mean 'size'?" in text) is (wrong == 'sizes')
    assert ('_delete_=True' in text) is (wrong != 'sizes')
