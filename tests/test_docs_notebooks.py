"""The notebooks run from beginning to end, on few images and for one epoch."""

import json
import re
import shlex

import pytest
from docs_pages import ROOT, blocks, commands

from simmim_mm.cli import parse_args

pytestmark = pytest.mark.slow

NOTEBOOKS = sorted((ROOT / 'docs').rglob('*.ipynb'))
SMALL = dict(backbone='vit-micro', method='mae', img_size=32, batch_size=8)
PARAMETERS = {
    'look': dict(crops=2, epochs=1, options=SMALL),
    'does_it_help': {
        'number, held_out': (8, 8),
        **dict(epochs=1, labels=(1, 2), choices=2, options=SMALL),
    },
}


@pytest.fixture
def kernel(tmp_path, python, monkeypatch):
    """The name of a kernel that starts at once."""
    folder = tmp_path / 'kernels' / 'preloaded'
    folder.mkdir(parents=True)
    argv = [python, '-m', 'ipykernel_launcher', '-f', '{connection_file}']
    spec = dict(argv=argv, display_name='preloaded', language='python')
    (folder / 'kernel.json').write_text(json.dumps(spec))
    monkeypatch.setenv('JUPYTER_PATH', str(tmp_path))
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    return folder.name


def run(name: str, kernel: str, folder) -> list:
    """The outputs of the notebook's cells, with other values in the cell of parameters."""
    nbclient = pytest.importorskip('nbclient')
    nbformat = pytest.importorskip('nbformat')
    notebook = nbformat.read(ROOT / f'docs/tutorials/{name}.ipynb', as_version=4)
    (cell,) = [c for c in notebook.cells if 'parameters' in c.metadata.get('tags', ())]
    for key, value in PARAMETERS[name].items():
        new = f'{key} = {value!r}'
        cell.source, found = re.subn(rf'^{key} = .*$', new, cell.source, flags=re.M)
        assert found == 1, key
    resources = dict(metadata=dict(path=str(folder)))
    settings = dict(timeout=600, kernel_name=kernel, resources=resources)
    nbclient.NotebookClient(notebook, **settings).execute()
    return [output for cell in notebook.cells for output in cell.get('outputs', ())]


def pictures(outputs: list) -> int:
    return sum('image/png' in output.get('data', ()) for output in outputs)


def text(outputs: list) -> str:
    return ''.join(output.get('text', '') for output in outputs)


def test_look(kernel, tmp_path):
    outputs = run('look', kernel, tmp_path)
    assert pictures(outputs) == 4  # images, loss, reconstructions, neighbors
    assert '  method      mae' in text(outputs)
    assert (tmp_path / 'work_dirs/look/run/epoch_1.pth').exists()


def test_does_it_help(kernel, tmp_path):
    outputs = run('does_it_help', kernel, tmp_path)
    assert pictures(outputs) == 2
    rows = re.findall(r'^(pretrained|untrained|pixels) +([\d.]+) +([\d.]+)$', text(outputs), re.M)
    assert [start for start, *_ in rows] == ['pretrained', 'untrained', 'pixels']
    assert all(0 < float(number) <= 100 for _, *numbers in rows for number in numbers)


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_is_stored_without_outputs(path):
    cells = json.loads(path.read_text())['cells']
    assert not any(cell.get('outputs') or cell.get('execution_count') for cell in cells)


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_commands_and_links_in_its_text(path):
    cells = json.loads(path.read_text())['cells']
    text = '\n\n'.join(''.join(c['source']) for c in cells if c['cell_type'] == 'markdown')
    for command in commands(text):
        assert all(len(line) <= 80 for _, block in blocks(text) for line in block.splitlines())
        parse_args(shlex.split(command)[1:])
    for link in re.findall(r'\]\(([^)#]+)', text):
        assert (path.parent / link).is_file(), link


def test_each_is_run():
    assert {path.stem for path in NOTEBOOKS} == {*PARAMETERS}
