"""Settings on the command line mean what was typed."""

import argparse

import pytest
from mmengine.config import Config

from simmim_mm.cli.common import add_cfg_options, merge_options
from simmim_mm.cli.values import parse_value


def parse(*texts: str) -> dict:
    parser = argparse.ArgumentParser()
    add_cfg_options(parser)
    return parser.parse_args(['--cfg-options', *texts]).cfg_options


@pytest.mark.parametrize('name', ['my scans', 'left, right', 'a,b', '2024', '1e5', 'True', "it's"])
@pytest.mark.parametrize(
    'key', ['train_dataloader.dataset.data_root', 'work_dir', 'model.backbone.init_cfg.checkpoint']
)
def test_a_path_is_taken_as_it_is(tmp_path, monkeypatch, key, name):
    monkeypatch.chdir(tmp_path)
    for typed in (name, f'{tmp_path}/{name}'):
        assert parse(f'{key}={typed}') == {key: typed}  # not there: it is what the error will name
    (tmp_path / name).mkdir()
    for typed in (name, f'{tmp_path}/{name}'):
        assert parse(f'{key}={typed}') == {key: typed}


def test_commas_part_paths_that_exist(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('a b', 'c'):
        (tmp_path / name).mkdir()
    assert parse_value('data_root', 'a b,c') == ['a b', 'c']
    assert parse_value('data_root', 'a b, c') == ['a b', 'c']
    assert parse_value('data_root', "['a b', 'd']") == ['a b', 'd']
    assert parse_value('data_root', '[a b,c]') == ['a b', 'c']
    (tmp_path / 'a b,c').mkdir()
    assert parse_value('data_root', 'a b,c') == 'a b,c'


def test_a_home_folder_and_none(monkeypatch):
    monkeypatch.setenv('HOME', '/home/me')
    assert parse_value('data_root', '~/scans') == '/home/me/scans'
    assert parse_value('load_from', 'None') is None


@pytest.mark.parametrize(
    'typed, value',
    [
        ('3', 3),
        ('1e-3', 1e-3),
        ('True', True),
        ('None', None),
        ('dynamic', 'dynamic'),
        ('1,2', [1, 2]),
        ('1, 2', [1, 2]),
        ('[1,(2,a)]', [1, (2, 'a')]),
        ('[ 1, true ]', [1, True]),
        ('(0.9, 0.95)', (0.9, 0.95)),
        ('first try', 'first try'),
        ('[first try, b]', ['first try', 'b']),
        ("'2024'", '2024'),
        ('"a, b"', 'a, b'),
        ("'[1,2]'", [1, 2]),
        ('', ''),
        ('a=b', 'a=b'),
    ],
)
def test_other_values_are_as_in_mmengine_but_for_blanks_and_quotes(typed, value):
    assert parse(f'key={typed}') == {'key': value}


def test_a_file_is_taken_as_it_is_by_any_setting(tmp_path):
    (tmp_path / 'a, b.py').touch()
    assert parse_value('anything', f'{tmp_path}/a, b.py') == f'{tmp_path}/a, b.py'


def test_a_word_that_the_shell_parted_is_told(capsys):
    with pytest.raises(SystemExit):
        parse('data_root=/x/my', 'scans')
    assert 'Quote a value with blanks: "data_root=/x/my scans"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('name', 'meant'),
    [
        ('optim_wrappr.optimizer.lr', 'optim_wrapper'),
        ('custom_hook', 'custom_hooks'),
        ('train_dataloder.batch_size', 'train_dataloader'),
    ],
)
def test_a_name_that_is_nearly_one_of_the_config_is_no_new_setting(name, meant):
    cfg = Config(dict(optim_wrapper=dict(optimizer=dict(lr=0.1)), train_dataloader=dict()))
    with pytest.raises(ValueError, match=f"has no '{name.partition('.')[0]}'.*mean '{meant}'"):
        merge_options(cfg, {name: 1})
    merge_options(cfg, {'optim_wrapper.optimizer.lr': 0.5, 'check_images': False})
    assert cfg.optim_wrapper.optimizer.lr == 0.5 and cfg.check_images is False
