"""What version 0.1 could write and read still works: files and numbers of tests/fixtures/v0_1.

The functions that compute the numbers, outputs.py, use the names of that version only, so that they
test the old names, too.
"""

import importlib
import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
FIXTURE = Path(__file__).parent / 'fixtures' / 'v0_1'
TRAININGS = sorted(path.stem for path in (FIXTURE / 'checkpoints').glob('*.pth'))
# trained in bfloat16, whose rounding depends on the processor
ROUGH = ('simmim_swinv2', 'downstream_probe')

pytestmark = pytest.mark.filterwarnings('ignore:.*the old name works until:FutureWarning')


def _load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


outputs = _load(FIXTURE / 'outputs.py')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A copy, since trainings write beside the files."""
    copy = tmp_path_factory.mktemp('v0_1') / 'v0_1'
    shutil.copytree(FIXTURE, copy)
    return copy


@pytest.fixture(autouse=True)
def here(folder, monkeypatch):
    """The paths in the configs begin here."""
    monkeypatch.chdir(folder)


@pytest.fixture(scope='module')
def inputs():
    return torch.load(FIXTURE / 'reference' / 'inputs.pt')


def reference(name: str) -> dict:
    return torch.load(FIXTURE / 'reference' / f'{name}.pt')


def differences(new, old, where: str = '', rtol: float = 1e-5, atol: float = 2e-6) -> list[str]:
    """Where two results differ: shapes, names and texts by anything, numbers by a tolerance."""
    if isinstance(old, torch.Tensor):
        if new.shape != old.shape:
            return [f'{where}: {tuple(new.shape)} instead of {tuple(old.shape)}']
        close = torch.allclose(new.double(), old.double(), rtol, max(atol, rtol * _size(old)))
        return [] if close else [f'{where}: off by {(new.double() - old.double()).abs().max():.2g}']
    if isinstance(old, dict):
        if new.keys() != old.keys():
            return [f'{where}: {sorted(new)} instead of {sorted(old)}']
        return [d for k in old for d in differences(new[k], old[k], f'{where}.{k}', rtol, atol)]
    if isinstance(old, (list, tuple)) and not isinstance(old, str):
        if len(new) != len(old):
            return [f'{where}: {len(new)} entries instead of {len(old)}']
        pairs = enumerate(zip(new, old))
        return [d for i, (a, b) in pairs for d in differences(a, b, f'{where}[{i}]', rtol, atol)]
    if isinstance(old, float):
        close = math.isclose(new, old, rel_tol=rtol, abs_tol=atol)
        return [] if close else [f'{where}: {new} instead of {old}']
    return [] if new == old else [f'{where}: {new!r} instead of {old!r}']


def _size(values: torch.Tensor) -> float:
    return float(values.double().abs().max()) if values.numel() else 0.0


@pytest.mark.parametrize('name', outputs.PRETRAININGS)
def test_pretrained_models_compute_what_they_did(name, inputs):
    assert differences(outputs.pretraining(name, inputs), reference('pretraining')[name]) == []


@pytest.mark.parametrize('name', reference('stored_config'))
def test_the_config_in_a_checkpoint_draws_and_extracts_what_it_did(name):
    converted = name.startswith('converted/')
    path = name if converted else f'checkpoints/{name}.pth'
    files = outputs.RGB if converted else outputs.files_of(name)
    draw = not converted or any(family in name for family in ('/mae', '/convmae'))
    new = outputs.stored_config(path, files, draw)
    for pictures in (new.get('pictures'), reference('stored_config')[name].get('pictures')):
        if pictures:  # the grid of the mask is not the same any more: what it covers is
            assert pictures.pop('mask')['shape'][-1] > 1
    assert differences(new, _without_mask(reference('stored_config')[name])) == []


def _without_mask(result: dict) -> dict:
    pictures = {k: v for k, v in result.get('pictures', {}).items() if k != 'mask'}
    return dict(result, pictures=pictures) if 'pictures' in result else result


@pytest.mark.parametrize('name', outputs.DOWNSTREAM)
def test_downstream_models_start_and_end_as_they_did(name, inputs):
    if 'detection' in name:
        pytest.importorskip('mmcv.ops', reason='detection needs the compiled operators of mmcv')
    assert differences(outputs.downstream(name, inputs), reference('downstream')[name]) == []


@pytest.mark.parametrize('file', outputs.EXPORTS)
def test_exported_files_are_read_and_written_again(file, inputs, request):
    library = outputs.EXPORTS[file][1]
    if library == 'huggingface':
        request.getfixturevalue('transformers')
    new, old = outputs.export(file, inputs), reference('exports')[file]
    if file in ('vit_mmseg.safetensors', 'vit_huggingface'):  # resized: other bits elsewhere
        new.pop('exported'), old.pop('exported')
    assert differences(new, old) == []
