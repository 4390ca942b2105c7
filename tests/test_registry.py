"""Our types build through OpenMMLab's registries, and a backbone brings no pretraining along."""

import subprocess
import sys

import pytest
from mmengine.registry import MODELS

import simmim_mm

PRETRAINING = (
    'simmim_mm.models.algorithms',
    'simmim_mm.models.heads',
    'simmim_mm.models.losses',
    'simmim_mm.models.necks',
    'simmim_mm.models.target_generators',
    'simmim_mm.datasets',
    'simmim_mm.engine',
)

BUILD = """
import sys
import simmim_mm
import {package}.datasets  # prints what it cannot import
from {package}.registry import MODELS
backbone = MODELS.build(dict(type='simmim_mm.MaskedSwin', arch='tiny', img_size=64))
assert type(backbone).__name__ == 'MaskedSwin'
print(*[name for name in sys.modules if name.startswith('simmim_mm')])
"""


def loaded(code: str, executable: str = sys.executable) -> set:
    """Modules that ``code``, run in a process of its own, prints: nothing else is printed."""
    result = subprocess.run([executable, '-c', code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    (line,) = result.stdout.splitlines()  # what others print while they are imported is not shown
    return set(line.split())


@pytest.mark.parametrize('package', ['mmpretrain', 'mmdet', 'mmseg'])
def test_backbone_builds_in_other_packages_without_the_pretraining_side(package, python):
    if package == 'mmdet':
        pytest.importorskip('mmcv.ops', reason='mmdet needs the compiled operators of mmcv')
    pytest.importorskip(package)
    modules = loaded(BUILD.format(package=package), python)
    assert 'simmim_mm.models.backbones' in modules
    assert not modules.intersection(PRETRAINING)


def test_import_is_light():
    modules = loaded('import sys, simmim_mm; print(*sys.modules)')
    ours = {name for name in modules if name.startswith('simmim_mm')}
    assert ours == {
        'simmim_mm',
        'simmim_mm._imports',
        'simmim_mm._renamed',
        'simmim_mm._stack',
        'simmim_mm.version',
    }
    assert not modules.intersection({'torch', 'mmengine', 'mmcv', 'mmpretrain', 'mmdet', 'mmseg'})


def test_registries_are_there_in_either_order_of_imports():
    code = (
        'import os, sys, torch\n'  # the longest of what both orders import
        'for order in ("import simmim_mm, mmengine", "import mmengine.registry, simmim_mm"):\n'
        '    if os.fork() == 0:\n'
        '        exec(order)\n'
        '        from mmengine.registry import MODELS\n'
        '        MODELS.get("simmim_mm.MaskedSwin").__name__ == "MaskedSwin" or sys.exit(1)\n'
        '        os._exit(0)\n'
        'ends = [os.wait()[1] for _ in range(2)]\n'
        'print(*ends)'
    )
    assert loaded(code) == {'0'}


def test_every_location_imports_on_its_own(python):
    """A location that fails to import hides behind a `not in the registry` message."""
    code = (
        'from importlib import import_module; from mmengine.registry import Registry\n'
        'from simmim_mm import registry\n'
        'children = [r for r in vars(registry).values() if isinstance(r, Registry)]\n'
        'places = {p for r in children if r.scope == "simmim_mm" for p in r._locations}\n'
        '[import_module(place) for place in sorted(places)]\n'
        'print(*places)'
    )
    assert 'simmim_mm.engine' in loaded(code, python)


@pytest.mark.parametrize(
    'name',
    ['MaskedSwin', 'MaskedSwinV2', 'MaskedViT', 'MaskedBEiT', 'MaskedConvViT', 'MaskedImageModel',
     'MaskedImageModel', 'PixelHead', 'PixelShuffleDecoder', 'MIMDataPreprocessor'],
)  # fmt: skip
def test_models_are_found_by_name_from_the_root(name):
    assert MODELS.get(f'simmim_mm.{name}') is simmim_mm.registry.MODELS.get(name) is not None
