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
import warnings
from functools import partial
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


@pytest.fixture(autouse=True)
def pillow_resizes(monkeypatch):
    """As at that time; torch, which does it where it is faster, rounds otherwise."""
    monkeypatch.setattr('simmim_mm.datasets.transforms.resizing._torch_is_fast', lambda: False)


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


def test_parts_with_arguments_of_then(inputs):
    from mmengine.config import Config

    config = Config.fromfile('parts.py')
    new, old = outputs.parts(config, inputs), reference('parts')
    for i, mask in enumerate(new.pop('masks')):
        before = old['masks'][
            i
        ]  # on the grid of tokens, where masks of today are on that of blocks
        factors = [n // m for n, m in zip(before.shape, mask.shape)]
        mask = mask.repeat_interleave(factors[0], 0).repeat_interleave(factors[1], 1)
        assert torch.equal(mask, before), config.masks[i]
    del old['masks']
    assert differences(new, old) == []
    assert len(outputs.hooks(config)) == len(config.hooks)


@pytest.mark.parametrize('name', sorted(path.stem for path in (FIXTURE / 'studies').glob('*.py')))
def test_study_files_make_the_cases_that_they_did(name):
    new = outputs.study(f'studies/{name}.py')
    old = json.loads((FIXTURE / 'reference' / 'studies.json').read_text())[name]
    new, old = (json.loads(json.dumps(value)) for value in (new, old))
    for result in (new, old):
        for case in result['cases']:
            for step in case['pipeline']:
                step.pop('token_stride', None)  # no longer needed
    assert differences(new, old) == []


def _names() -> list[tuple[str, str]]:
    content = json.loads((FIXTURE / 'public_names.json').read_text())
    return [(module, name) for module, names in content.items() for name in names]


# Two helpers of a module of checks, which had no use elsewhere.
OLD = 'simmim_mm.engine.downstream_preflight.common'  # codespell:ignore
GONE = [(OLD, name) for name in ('folder_of', 'join')]


def test_every_public_name_imports_from_where_it_was():
    lost = []
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for module, name in sorted(set(_names()) - set(GONE)):
            try:
                getattr(importlib.import_module(module), name)
            except (ImportError, AttributeError) as error:
                lost.append(f'{module}.{name}: {error}')
    assert lost == []


# Runs a script with the resizing of then; see `pillow_resizes`.
WITH_PILLOW = """
import runpy, sys
import simmim_mm.datasets.transforms.resizing as resizing
resizing._torch_is_fast = lambda: False
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


@pytest.fixture
def run(python):
    """Runs a script of tools/ as users of that version call it."""
    return partial(_run, python)


def _run(python: str, script: str, *args: object) -> str:
    env = dict(os.environ, OMP_NUM_THREADS='1', SIMMIM_MM_DEBUG='1')
    env['PYTHONPATH'] = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
    command = [python, '-c', WITH_PILLOW, str(ROOT / 'tools' / script), *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def _scalars(work_dir: Path) -> list[dict]:
    lines = []
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        lines += map(json.loads, path.read_text().splitlines())
    dropped = ('time', 'data_time', 'images_per_second', 'memory')
    return [{k: v for k, v in line.items() if k not in dropped} for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize('name', TRAININGS)
def test_a_training_is_resumed_and_logs_what_it_did(name, run, tmp_path):
    """Configs, pipelines, masks, optimizer and schedule: all of it has to be right for that."""
    run(
        'train.py', f'configs/{name}.py', '--work-dir', tmp_path,
        '--resume', f'checkpoints/{name}.pth',
    )  # fmt: skip
    old = json.loads((FIXTURE / 'logs' / f'{name}.json').read_text())['resumed']
    rtol = 2e-2 if name in ROUGH else 1e-4
    found = _scalars(tmp_path)
    if 'lr' not in found[0]:  # since 0.2, a validation that was due is made first
        del found[0]
    assert differences(found, old, rtol=rtol, atol=1e-5) == []


@pytest.mark.slow
def test_scripts_take_what_they_took(run, tmp_path):
    """reconstruct, export, convert and knn by the names and options of then."""
    picture = tmp_path / 'picture.png'
    run(
        'reconstruct.py', 'checkpoints/bands_convnext.pth', outputs.BANDS[0], '--bands', 0, 1, 2,
        '--out', picture,
    )  # fmt: skip
    assert picture.stat().st_size > 1000
    target = tmp_path / 'swin.pth'
    said = run('export.py', 'checkpoints/simmim_swin.pth', '--to', 'mmpretrain', '-o', target,
                '--verify')  # fmt: skip
    assert 'verified' in said and target.is_file()
    run('convert.py', 'official/mae.pth', tmp_path / 'mae.pth', '--args', 'num_heads=2',
         'decoder_num_heads=2')  # fmt: skip
    said = run('analysis/knn.py', 'checkpoints/simmim_swin.pth', 'data/classes', '--num-workers', 0)
    assert 'accuracy' in said


@pytest.mark.slow
def test_compare_takes_checkpoints_of_then(run, tmp_path):
    run(
        'compare.py', 'classification', 'data/classes', '--checkpoints',
        'swin=checkpoints/simmim_swin.pth', '--epochs', 1, '--seeds', 1, '--work-dir', tmp_path,
        '--figure', 'accuracy/top1', '--cfg-options', 'train_dataloader.num_workers=0',
        'val_dataloader.num_workers=0',
    )  # fmt: skip
    assert 'swin' in (tmp_path / 'results.md').read_text()
