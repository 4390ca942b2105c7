"""A wheel works outside the clone: it carries configs and tools, and they run from there."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
SOURCES = ('simmim_mm', 'configs', 'tools', 'requirements')
SOURCE_FILES = ('setup.py', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE', 'CHANGELOG.md',
                'model-index.yml')  # fmt: skip


@pytest.fixture(scope='module')
def source_tree(tmp_path_factory):
    """A copy of what packaging reads, so that no build output lands in the repository."""
    copy = tmp_path_factory.mktemp('source')
    ignore = shutil.ignore_patterns('__pycache__', '.mim')
    for name in SOURCES:
        shutil.copytree(ROOT / name, copy / name, ignore=ignore)
    for name in SOURCE_FILES:
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope='module')
def wheel(source_tree, tmp_path_factory):
    """The wheel, unpacked: what a user has in site-packages."""
    folder = tmp_path_factory.mktemp('wheel')
    command = [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation']
    subprocess.run([*command, '-w', str(folder), str(source_tree)], check=True)
    (archive,) = folder.glob('simmim_mm-*.whl')
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder / 'site')
    return folder / 'site'


def files(folder: Path, *patterns: str) -> set:
    found = {path for pattern in patterns for path in folder.rglob(pattern)}
    return {
        path.relative_to(folder).as_posix()
        for path in found
        if not {'__pycache__', '.mim'} & set(path.relative_to(folder).parts)
    }


def outside_the_clone(wheel: Path, *arguments: str) -> str:
    environment = {**os.environ, 'PYTHONPATH': str(wheel)}
    result = subprocess.run(
        [sys.executable, *arguments], cwd=wheel, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_wheel_carries_every_module_config_and_tool(wheel):
    assert files(wheel / 'simmim_mm', '*.py') == files(ROOT / 'simmim_mm', '*.py')
    mim = wheel / 'simmim_mm' / '.mim'
    for name in ('configs', 'tools'):
        assert files(ROOT / name, '*.py'), f'{name} is empty'
        assert files(mim / name, '*') == files(ROOT / name, '*')
    assert (mim / 'model-index.yml').is_file()


def test_wheel_leaves_tests_and_benchmarks_out(wheel):
    top = {path.name for path in wheel.iterdir() if not path.name.endswith('.dist-info')}
    assert top == {'simmim_mm'}


def test_train_runs_from_the_wheel(wheel):
    train = wheel / 'simmim_mm' / '.mim' / 'tools' / 'train.py'
    assert '--work-dir' in outside_the_clone(wheel, str(train), '--help')


def test_configs_of_the_wheel_load_with_their_bases(wheel):
    load = (
        'import sys, pathlib, simmim_mm; from mmengine import Config\n'
        'root = pathlib.Path(simmim_mm.__file__).parent / ".mim" / "configs" / "simmim"\n'
        'assert str(root).startswith(sys.argv[1]), root\n'
        'for path in sorted(root.glob("*.py")): print(Config.fromfile(path).model.type)'
    )
    types = outside_the_clone(wheel, '-c', load, str(wheel)).split()
    assert types and set(types) == {'MaskedImageModel'}


def test_the_wheel_lists_and_finds_its_configs(wheel):
    code = (
        'from simmim_mm.catalog import find_config, list_configs\n'
        'for entry in list_configs("pixmim/"): print(entry.path, find_config(entry.path.stem)[0])'
    )
    lines = outside_the_clone(wheel, '-c', code).splitlines()
    assert len(lines) == len(list((ROOT / 'configs' / 'pixmim').glob('*.py')))
    for path, found in map(str.split, lines):
        assert path == found and path.startswith(str(wheel.resolve()))


def test_editable_install_links_instead_of_copying(source_tree):
    subprocess.run(
        [sys.executable, '-c', EDITABLE], cwd=source_tree, check=True, capture_output=True
    )
    mim = source_tree / 'simmim_mm' / '.mim'
    for name in ('configs', 'tools', 'model-index.yml'):
        assert (mim / name).resolve() == (source_tree / name).resolve()


# What `pip install -e` asks of the build backend, without touching the environment.
EDITABLE = (
    'import tempfile; from setuptools import build_meta; '
    'build_meta.build_editable(tempfile.mkdtemp())'
)


def test_wheel_needs_neither_line_of_openmmlab(wheel):
    """Requirements on one line's distributions would install it over the other's files."""
    (info,) = wheel.glob('*.dist-info')
    needs = re.findall(r'^Requires-Dist: (.*)$', (info / 'METADATA').read_text(), re.M)
    unconditional = [need for need in needs if 'extra ==' not in need]
    assert any(need.startswith('numpy') for need in unconditional)
    assert not [need for need in unconditional if re.match('onedl|mm|torch', need)]
    for extra in ('stack', 'detection', 'segmentation', 'development'):
        assert any(re.search(f'extra == .{extra}.', need) for need in needs)


def test_pre_commit_runs_the_pinned_linters():
    hooks = (ROOT / '.pre-commit-config.yaml').read_text()
    for pin in re.findall(
        r'^[a-z]+==(.*)$', (ROOT / 'requirements' / 'lint.txt').read_text(), re.M
    ):
        assert f'rev: v{pin}\n' in hooks


TINY = """
_base_ = {base!r}
img_size = 64
model = dict(
    backbone=dict(
        _delete_=True,
        type='MaskedSwin',
        arch=dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 2]),
        img_size=64,
        window_size=4,
    ),
    neck=dict(_delete_=True, type='PixelShuffleDecoder', in_channels=64, stride=32),
)
crop = dict(type='RandomResizedCrop', scale=64)
mask = dict(type='RandomBlockMask', mask_patch_size=32, mask_ratio=0.5)
pack = dict(type='mmpretrain.PackInputs', algorithm_keys=['mask'])
pipeline = [dict(type='LoadImage'), crop, mask, pack]
train_dataloader = dict(num_workers=0, persistent_workers=False)
train_dataloader['dataset'] = dict(
    _delete_=True, type='ImageDataset', data_root='', pipeline=pipeline
)
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=100)
param_scheduler = []
val_dataloader = val_cfg = val_evaluator = None
custom_hooks = []
"""


def test_the_command_works_from_the_wheel(wheel, tmp_path):
    """List, pretrain for ten steps, export with the comparison, each in a process of its own."""
    base = 'simmim_swin-micro-w6_1xb64-coslr-100e_folder-96px'
    command = ['-m', 'simmim_mm.cli']
    (path,) = outside_the_clone(wheel, *command, 'list', f'simmim/{base}', '--paths').split()
    assert Path(path).is_relative_to(wheel)
    entry_points = next(wheel.glob('*.dist-info')) / 'entry_points.txt'
    assert 'simmim = simmim_mm.cli:main' in entry_points.read_text()

    rng = np.random.default_rng(0)
    (tmp_path / 'images').mkdir()
    for i in range(8):
        pixels = rng.integers(0, 256, (80, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / 'images' / f'{i}.png')
    (tmp_path / 'tiny.py').write_text(TINY.format(base=path))
    outside_the_clone(
        wheel, *command, 'train', str(tmp_path / 'tiny.py'), '--data', str(tmp_path / 'images'),
        '--iters', '10', '--batch-size', '2', '--work-dir', str(tmp_path / 'run'),
    )  # fmt: skip
    said = outside_the_clone(
        wheel, *command, 'export', str(tmp_path / 'run' / 'iter_10.pth'), '--to', 'mmpretrain',
        '--out', str(tmp_path / 'swin.pth'), '--verify',
    )  # fmt: skip
    assert 'verified: ' in said and (tmp_path / 'swin.pth').is_file()


def test_wheel_tells_type_checkers(wheel):
    assert (wheel / 'simmim_mm' / 'py.typed').is_file()
    assert (wheel / 'simmim_mm' / '__init__.pyi').is_file()
