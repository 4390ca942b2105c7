"""A wrong or missing piece of the stack is told in one line, with the command that mends it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simmim_mm import _stack

ROOT = Path(__file__).parents[1]
VERIFIED = {
    'torch': '2.14.1+cu130',
    'onedl-mmengine': '0.10.12',
    'onedl-mmcv': '2.3.6',
    'onedl-mmpretrain': '1.3.6',
}
ORIGINAL = {'torch': '2.5.1', 'mmengine': '0.10.7', 'mmcv': '2.1.0', 'mmpretrain': '1.2.0'}


@pytest.fixture
def install(monkeypatch):
    """Pretends that exactly the given distributions, and no modules, are installed."""

    def pretend(versions: dict) -> None:
        monkeypatch.setattr(_stack, 'installed_version', versions.get)
        monkeypatch.setattr(_stack, 'is_importable', lambda module: False)

    return pretend


def one_line(error) -> str:
    message = str(error.value)
    assert '\n' not in message
    return message


@pytest.mark.parametrize('versions', [VERIFIED, ORIGINAL], ids=['maintained', 'original'])
def test_both_lines_of_openmmlab_pass(install, versions):
    install(versions)
    _stack.check()


@pytest.mark.parametrize('piece', _stack.PIECES, ids=lambda piece: piece.module)
def test_missing_piece_is_named_with_its_fix(install, piece):
    install({name: v for name, v in VERIFIED.items() if name not in piece.distributions})
    with pytest.raises(_stack.StackError) as error:
        _stack.check()
    message = one_line(error)
    assert f'needs {piece.module} >={piece.low}' in message
    assert 'not installed' in message
    assert message.endswith(f'fix: pip install {piece.pin}')


@pytest.mark.parametrize(
    ('name', 'version'),
    [
        ('onedl-mmengine', '0.9.1'),
        ('onedl-mmcv', '2.4.0'),
        ('onedl-mmpretrain', '2.0'),
        ('torch', '1.13.1'),
    ],
)
def test_wrong_version_is_told_with_what_was_found_and_wanted(install, name, version):
    install({**VERIFIED, name: version})
    piece = next(piece for piece in _stack.PIECES if name in piece.distributions)
    with pytest.raises(_stack.StackError) as error:
        _stack.check()
    message = one_line(error)
    assert f'{name} {version} is installed' in message
    assert f'>={piece.low}' in message
    assert message.endswith(f'fix: pip install {piece.pin}')


def test_old_distribution_beside_the_right_one_must_be_uninstalled(install):
    # mmcv-full and onedl-mmcv write the same files; installing over them would leave a mixture.
    install({**VERIFIED, 'mmcv-full': '1.7.2'})
    with pytest.raises(_stack.StackError) as error:
        _stack.check()
    assert 'pip uninstall -y onedl-mmcv mmcv-full && pip install onedl-mmcv' in one_line(error)


def test_original_distribution_of_a_wrong_version_is_uninstalled_first(install):
    install({**ORIGINAL, 'mmcv': '1.3.0'})
    with pytest.raises(_stack.StackError) as error:
        _stack.check()
    assert 'pip uninstall -y mmcv && pip install onedl-mmcv==' in one_line(error)


def test_source_tree_on_the_path_is_trusted(install, monkeypatch):
    install({name: version for name, version in VERIFIED.items() if name != 'onedl-mmcv'})
    monkeypatch.setattr(_stack, 'is_importable', lambda module: module == 'mmcv')
    _stack.check()


def test_pins_are_those_of_the_requirements():
    pinned = (ROOT / 'requirements' / 'stack.txt').read_text().split()
    for piece in _stack.PIECES:
        assert set(piece.pin.split()) <= set(pinned)


def test_missing_compiled_operators_are_told_in_one_line(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError("No module named 'mmcv._ext'")

    monkeypatch.setattr(_stack, 'import_module', absent)
    with pytest.raises(_stack.StackError) as error:
        _stack.require_mmcv_ops()
    message = one_line(error)
    assert 'mmcv._ext' in message
    assert 'make setup' in message


def _environment_with_torch(version: str, folder: Path) -> dict:
    """An environment in which metadata of another torch is found before the real one's."""
    info = folder / f'torch-{version}.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: torch\nVersion: {version}\n')
    return {**os.environ, 'PYTHONPATH': f'{folder}{os.pathsep}{ROOT}'}


def test_detection_needs_the_compiled_operators(monkeypatch, tmp_path):
    """It is said before anything is built, by a training, a validation and a comparison."""
    from simmim_mm.cli import compare, parse_args

    def absent():
        raise _stack.StackError('no operators')

    monkeypatch.setattr(_stack, 'require_mmcv_ops', absent)
    config = tmp_path / 'detector.py'
    config.write_text("default_scope = 'mmdet'\nval_dataloader = dict(dataset=dict(type='A'))\n")
    verb, args = parse_args(['compare', 'detection', 'data', '--checkpoints', 'a.pth'])
    with pytest.raises(_stack.StackError, match='no operators'):
        compare.prepare(args, tmp_path)
    for command in (['train', str(config)], ['test', str(config), 'a.pth']):
        verb, args = parse_args(command)
        with pytest.raises(_stack.StackError, match='no operators'):
            verb.run(args)


def test_import_checks_the_stack(tmp_path):
    environment = _environment_with_torch('1.8.0', tmp_path)
    result = subprocess.run(
        [sys.executable, '-c', 'import simmim_mm'], env=environment, capture_output=True, text=True
    )
    assert result.returncode != 0
    assert 'torch 1.8.0 is installed' in result.stderr.splitlines()[-1]


TOOLS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in ROOT.glob('tools/**/*.py')
    if path.parent.name != 'setup'  # they make the stack
)


@pytest.mark.parametrize('tool', [*TOOLS, 'simmim_mm.cli'])
def test_tools_report_a_wrong_stack_in_one_line(tool, tmp_path):
    environment = _environment_with_torch('1.8.0', tmp_path)
    result = subprocess.run(
        [sys.executable, *([str(ROOT / tool)] if '/' in tool else ['-m', tool]), '--help'],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert 'torch 1.8.0 is installed' in result.stderr
