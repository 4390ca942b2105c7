"""The steps of the set-up: run once, again when their key changes, and survive interruption."""

import importlib.util
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / 'tools' / 'setup' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def steps(tmp_path, monkeypatch):
    module = load('steps')
    monkeypatch.setattr(module, 'STATE', tmp_path)
    return module


def count_runs(steps, folder: Path, key: str, **kwargs):
    """A step that adds a line to a file whenever it runs."""
    code = f'open({str(folder / "runs")!r}, "a").write("x")'
    return steps.Step('count', 'counting', [sys.executable, '-c', code], [key], **kwargs)


def test_step_is_done_once_and_again_for_another_key(steps, tmp_path):
    first = count_runs(steps, tmp_path, 'numpy==1')
    assert not first.done
    first.run('[1/1]')
    assert first.done
    assert count_runs(steps, tmp_path, 'numpy==1').done
    other = count_runs(steps, tmp_path, 'numpy==2')
    assert not other.done
    other.run('[1/1]')
    assert not first.done
    assert (tmp_path / 'runs').read_text() == 'xx'


def test_failed_step_shows_the_log_and_is_not_done(steps, tmp_path, capsys):
    code = 'print("the reason"); raise SystemExit(3)'
    step = steps.Step('bad', 'failing', [sys.executable, '-c', code], [], hint='do this')
    with pytest.raises(steps.SetupError, match=r'step "bad" failed, log: .*bad.log; do this'):
        step.run('[1/1]')
    assert 'the reason' in capsys.readouterr().err
    assert not step.done


def test_interrupted_installation_ignores_what_it_left(steps, monkeypatch):
    commands = []
    monkeypatch.setattr(steps, 'run_logged', lambda command, log: commands.append(command) or 0)
    step = steps.Step('pip', 'installing', [*steps.PIP_INSTALL, 'numpy'], [])
    step.run('')
    assert '--ignore-installed' not in commands[-1]
    step.begun.touch()  # what a kill leaves behind
    step.run('')
    assert '--ignore-installed' in commands[-1]
    assert not step.begun.exists()


def test_step_is_covered_by_a_stronger_one(steps, tmp_path):
    full = count_runs(steps, tmp_path, 'full')
    weaker = steps.Step('weak', 'weaker', ['false'], [], covered_by=full)
    assert not weaker.done
    full.run('')
    assert weaker.done


def test_operators_are_built_of_the_pinned_mmcv():
    pins = (ROOT / 'requirements' / 'stack.txt').read_text().split()
    assert load('mmcv_ops').REQUIREMENT in pins


def test_compiler_is_asked_for_the_standard_that_torch_needs(tmp_path):
    script = load('mmcv_ops').wrap(tmp_path / 'c++', 'echo', ' -g0')
    command = [script, '-O2', '-std=c++17', '-DNAME="a b"', '-c', 'file.cpp']
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said == '-O2 -std=c++20 -DNAME="a b" -c file.cpp -g0\n'


@pytest.mark.parametrize('level', ['demo', 'full'])
def test_mmengine_comes_before_mmcv(level, monkeypatch):
    """mmcv imports mmengine, so that its operators cannot be tried without."""
    monkeypatch.syspath_prepend(ROOT / 'tools' / 'setup')
    names = [step.name for step in load('environment').steps(level)]
    mmcv = 'mmcv-operators' if level == 'full' else 'mmcv'
    assert names.index('torch') < names.index('mmpretrain') < names.index(mmcv)


def test_a_copied_folder_installs_itself_and_nothing_else(tmp_path):
    """With its environment copied along, Python would import the original's code."""
    keys = []
    for name in ('original', 'copy'):
        for part in ('tools/setup', 'requirements'):
            shutil.copytree(ROOT / part, tmp_path / name / part)
        for part in ('setup.py', 'pyproject.toml'):
            shutil.copy(ROOT / part, tmp_path / name)
        code = (
            'import sys, json; sys.path.insert(0, "tools/setup"); import environment; '
            'print(json.dumps({step.name: step.key for step in environment.steps("full")}))'
        )
        command = [sys.executable, '-c', code]
        keys.append(json.loads(subprocess.check_output(command, cwd=tmp_path / name)))
    original, copy = keys
    assert {name for name in original if original[name] != copy[name]} == {'simmim_mm', 'check'}


def test_sources_are_grouped_without_losing_one(tmp_path, monkeypatch):
    """Every C++ file is included once, and is no longer compiled on its own."""
    tool = load('mmcv_ops')
    csrc = tmp_path / 'mmcv-1' / 'mmcv' / 'ops' / 'csrc' / 'pytorch'
    (csrc / 'cpu').mkdir(parents=True)
    (tmp_path / 'mmcv-1' / 'setup.py').touch()
    names = [f'a{i}' for i in range(20)] + [f'cpu/b{i}' for i in range(9)]
    names += [f'cpu/{name}' for name in (*tool.ALIKE, tool.LAST)]
    for name in names:
        (csrc / f'{name}.cpp').write_text(name)
    with tarfile.open(tmp_path / 'mmcv.tar.gz', 'w:gz') as archive:
        archive.add(tmp_path / 'mmcv-1', 'mmcv-1')
    shutil.rmtree(tmp_path / 'mmcv-1')
    monkeypatch.setattr(tool, 'pip', lambda *args, **kwargs: 0)
    assert tool.grouped_source(tmp_path) == tmp_path / 'mmcv-1'
    groups = list(csrc.glob('*.cpp'))
    assert len(groups) == tool.GROUPS and not list(csrc.glob('cpu/*.cpp'))
    lines = [line for group in groups for line in group.read_text().splitlines()]
    assert lines.count('#include <torch/extension.h>') == tool.GROUPS
    for group in groups:  # what defines the same names is apart, and macros end their group
        text = group.read_text()
        assert sum(f'"cpu/{name}.inc"' in text for name in tool.ALIKE) == 1
        assert tool.LAST not in text or text.endswith(f'#include "cpu/{tool.LAST}.inc"\n')
    included = [line.split('"')[1] for line in lines if '"' in line]
    assert sorted(included) == sorted(f'{name}.inc' for name in names)
    assert all((csrc / name).read_text() == name[:-4] for name in included)
