"""The command: what it imports, its verbs, options of version 0.1, and short options."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config, DictAction

from simmim_mm import _renamed
from simmim_mm.catalog import list_configs, list_models, load_config
from simmim_mm.cli import VERBS, load_verb, main, parse_args
from simmim_mm.cli.train import merge_args

ROOT = Path(__file__).parents[2]
HEAVY = {'torch', 'mmengine', 'mmcv', 'numpy', 'matplotlib', 'rich'}


def modules_of(code: str) -> set[str]:
    """Modules that a process of its own has after running ``code``."""
    code = (
        f'import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); {code}'
    )
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    result = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, env=environment
    )
    assert result.returncode == 0, result.stderr
    return set(result.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    'code',
    [
        'import simmim_mm; simmim_mm.list_configs(); simmim_mm.list_models(); dir(simmim_mm)',
        'from simmim_mm.cli import main; main(["--help"])',
        'from simmim_mm.cli import main; main(["list"])',
        *(f'from simmim_mm.cli import main; main(["{verb}", "--help"])' for verb in VERBS),
    ],
)
def test_help_and_lists_are_light(code):
    assert not HEAVY & modules_of(code)


def test_the_module_is_the_command():
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    result = subprocess.run(
        [sys.executable, '-m', 'simmim_mm.cli', '--help'],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert result.returncode == 0, result.stderr
    for verb in VERBS:
        assert f'\n    {verb}' in result.stdout
        assert load_verb(verb).HELP and '\n' not in load_verb(verb).HELP
    setup = (ROOT / 'setup.py').read_text()
    assert "'simmim = simmim_mm.cli:main'" in setup


@pytest.mark.parametrize('argv', [['no-such-verb'], ['train'], ['train', 'a.py', '--no-option']])
def test_wrong_words_end_with_the_usage(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    assert 'usage: simmim' in capsys.readouterr().err


def test_scripts_are_the_verbs():
    """Each script of tools/ that people know calls a verb; younger verbs have none."""
    called = set()
    for path in ROOT.glob('tools/**/*.py'):
        text = path.read_text()
        if path.parent.name == 'setup' or path.name.startswith('demo'):
            continue
        assert len(text.splitlines()) <= 8, path
        called.add(text.split("run_verb('")[1].split("'")[0])
    assert called <= set(VERBS)


SCRIPTS = json.loads((ROOT / 'tests/fixtures/v0_1/public_scripts.json').read_text())


@pytest.mark.parametrize('script', sorted(name for name in SCRIPTS if 'demo' not in name))
def test_every_option_of_version_0_1_is_known(script):
    verb = load_verb((ROOT / script).read_text().split("run_verb('")[1].split("'")[0])
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    known = {option for action in parser._actions for option in action.option_strings}
    known |= {old for old, new in getattr(verb, 'RENAMED', {}).items() if new in known}
    assert {option for option in SCRIPTS[script] if option.startswith('-')} <= known


OPTIONS = [
    ['lr=0.1', 'a.b=[1,2]', "c='x'", 'd=(1,(2,3))', 'e=None', 'f=True', 'g=x,y', 'h=k=v', 'i='],
    ['a.b=1', 'a.b=2'],
]


@pytest.mark.parametrize('options', OPTIONS)
def test_cfg_options_are_read_as_mmengine_reads_them(options):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    expected = parser.parse_args(['--cfg-options', *options]).cfg_options
    _, args = parse_args(['train', 'a.py', '--cfg-options', *options])
    assert args.cfg_options == expected
    assert parse_args(['train', 'a.py'])[1].cfg_options == {}


def test_a_setting_without_a_value_is_one_error(capsys):
    with pytest.raises(SystemExit) as stop:
        parse_args(['train', 'a.py', '--cfg-options', 'lr'])
    assert stop.value.code == 2 and "'lr' is not like name=value" in capsys.readouterr().err


@pytest.mark.parametrize(
    ('old', 'name', 'value'),
    [
        (['compare', 'detection', 'd', '--checkpoints', 'c', '--figure', 'loss'], 'metric', 'loss'),
        (['make-shapes', 'out', '--unlabelled=3'], 'unlabeled', 3),
        (['scan', 'folder', '--bands', '1', '3'], 'channels', [1, 3]),
        (['split', 'folder', '--with-copies'], 'with_duplicates', True),
    ],
)
def test_options_of_version_0_1_are_taken_with_a_warning(old, name, value, monkeypatch):
    monkeypatch.setattr(_renamed, '_warned', set())
    with pytest.warns(FutureWarning, match='is now .*--'):
        assert getattr(parse_args(old)[1], name) == value


def merged(*options: str) -> Config:
    """The config of a pretraining with the command line entered."""
    _, args = parse_args(['train', 'simmim_swin-micro-w6_1xb64-coslr-100e_folder-96px', *options])
    cfg = load_config(args.config)
    merge_args(cfg, args)
    return cfg


def test_short_options_are_their_dotted_forms():
    plain = merged()
    warm, cosine = plain.param_scheduler[0], plain.param_scheduler[1]
    former = plain.train_cfg.max_epochs
    short = merged('--data', 'images', '--epochs', '10', '--batch-size', '8', '--seed', '3')
    dotted = merged(
        '--cfg-options',
        'train_dataloader.dataset.data_root=images',
        'train_dataloader.batch_size=8',
        'randomness.seed=3',
        'train_cfg.max_epochs=10',
        'train_cfg.val_interval=2',
        f'default_hooks.checkpoint.interval={min(2, plain.default_hooks.checkpoint.interval)}',
        f'param_scheduler.0.end={max(1, round(warm.end * 10 / former))}',
        *(
            f'param_scheduler.1.{key}={round(cosine[key] * 10 / former)}'
            for key in ('begin', 'end', 'T_max')
            if cosine.get(key)
        ),
    )
    assert short.to_dict() == dotted.to_dict()
    assert short.to_dict() != plain.to_dict()


def test_what_is_written_out_wins_over_a_short_option():
    cfg = merged('--batch-size', '8', '--cfg-options', 'train_dataloader.batch_size=4')
    assert cfg.train_dataloader.batch_size == 4


def test_data_of_a_wrapped_data_set(tmp_path):
    path = tmp_path / 'wrapped.py'
    path.write_text(
        "train_dataloader = dict(dataset=dict(type='RepeatDataset', times=2,\n"
        "    dataset=dict(type='ImageDataset', data_root='a')))\n"
    )
    _, args = parse_args(['train', str(path), '--data', 'b'])
    cfg = Config.fromfile(path)
    merge_args(cfg, args)
    assert cfg.train_dataloader.dataset.dataset.data_root == 'b'
    assert 'data_root' not in cfg.train_dataloader.dataset


def test_a_checkpoint_is_validated_on_the_folder_of_data(tmp_path):
    from simmim_mm.cli import test

    path = tmp_path / 'held_out.py'
    path.write_text(
        "val_dataloader = dict(dataset=dict(type='RepeatDataset', times=2,\n"
        "    dataset=dict(type='ImageDataset', data_root='a')))\n"
    )
    _, args = parse_args(['test', str(path), 'a.pth', '--data', '2024, left'])
    cfg = Config.fromfile(path)
    test.merge_args(cfg, args)
    assert cfg.val_dataloader.dataset.dataset.data_root == '2024, left'


@pytest.mark.parametrize(
    ('options', 'message'),
    [(['--iters', '5'], 'counts epochs'), (['--batch-size', '0'], 'at least 1')],
)
def test_short_options_that_do_not_fit_are_one_error(options, message):
    with pytest.raises(ValueError, match=message):
        merged(*options)


def test_data_goes_to_the_data_set_in_wrappers_if_there_is_one():
    from mmengine.config import Config

    from simmim_mm.experiments.downstream import set_run

    one = dict(type='ImageDataset', data_root='old')
    concat = dict(type='ConcatDataset', datasets=[one])
    wrapped = dict(type='RepeatDataset', times=2, dataset=concat)
    cfg = Config(dict(train_dataloader=dict(dataset=wrapped), train_cfg={}))
    set_run(cfg, data='new')
    (part,) = cfg.train_dataloader.dataset.dataset.datasets
    assert part.data_root == 'new' and 'data_root' not in cfg.train_dataloader.dataset.dataset
    cfg.train_dataloader.dataset.dataset.datasets = [dict(one), dict(one)]
    with pytest.raises(ValueError, match='has 2 data sets'):
        set_run(cfg, data='new')


def test_export_names_the_libraries_that_there_are():
    from simmim_mm.cli.export import LIBRARIES
    from simmim_mm.interop import TARGETS

    assert LIBRARIES == TARGETS  # written down twice: to import the second would slow --help down


def test_models_are_what_can_be_pretrained():
    names = set(list_models())
    assert names < {entry.path.stem for entry in list_configs()} and len(names) > 20
    for name in names:
        assert load_config(name).model.type == 'MaskedImageModel', name


def test_list_shows_names_and_what_they_are(capsys):
    main(['list', 'resnet50_1xb64'])
    shown = capsys.readouterr().out
    assert 'simmim_resnet50_1xb64-amp-coslr-100e_folder-192px\n' in shown
    (entry,) = list_configs('simmim_resnet50_1xb64')
    assert f'\n      {entry.summary}\n' in shown
    with pytest.raises(SystemExit) as stop:
        main(['list', 'no-such-thing'])
    assert stop.value.code == 2
