"""The Python of the README and of the API page runs, on a checkpoint of one epoch."""

import numpy as np
import pytest
from docs_pages import ROOT, blocks, run_page
from PIL import Image

pytestmark = pytest.mark.slow

TRAIN = """
```bash
simmim train simmim_swin-micro-w6_1xb64-coslr-100e_folder-96px \\
    --data images --epochs 1 --work-dir work_dirs/RUN
```
"""
SHORTER = {'epoch_100.pth': 'epoch_1.pth', '/my/images': 'images'}


@pytest.fixture(scope='module')
def folder(tmp_path_factory, python):
    folder = tmp_path_factory.mktemp('api')
    (folder / 'images').mkdir()
    for i in range(4):
        pixels = np.random.default_rng(i).integers(0, 256, (100, 120, 3), np.uint8)
        Image.fromarray(pixels).save(folder / 'images' / f'{i}.png')
    run_page(TRAIN, folder, python)
    return folder


@pytest.mark.parametrize('page', ['README.md', 'docs/reference/api.md'])
def test_snippets_run(page, folder, monkeypatch, capsys):
    text = (ROOT / page).read_text()
    for old, new in SHORTER.items():
        text = text.replace(old, new)
    code = [block for language, block in blocks(text) if language == 'python']
    code = [block for block in code if 'simmim_mm.' in block and 'custom_imports' not in block]
    assert code
    monkeypatch.chdir(folder)
    (folder / 'reconstruction.png').unlink(missing_ok=True)
    names: dict = {}
    exec('import simmim_mm\n' + '\n'.join(code), names)
    assert names['features'].shape == (4, 384)
    assert (folder / 'reconstruction.png').exists()
    assert names['report'] is not None
