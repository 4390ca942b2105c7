"""The short tutorials: their files and commands, in order, on fewer images and for one epoch."""

import re

import numpy as np
import pytest
from docs_pages import ROOT, run_page, shortened
from PIL import Image

pytestmark = pytest.mark.slow

SMALL = '--epochs 1 --img-size 32 --backbone vit-micro --method mae'


def run(page: str, shorter: dict[str, str], folder, python) -> str:
    """What the commands print."""
    text = (ROOT / f'docs/tutorials/{page}.md').read_text()
    return run_page(shortened(text, shorter), folder, python)


def test_xray(tmp_path, python):
    shorter = {
        'images = 128, 200': 'images = 40, 8',
        '--epochs 20 --batch-size 16': f'{SMALL} --batch-size 4',
        'epoch_20.pth': 'epoch_1.pth',
    }
    printed = run('xray', shorter, tmp_path, python)
    assert 'types     uint16 (8), values ' in printed
    assert 'normalized by their own mean and deviation' in printed
    assert Image.open(tmp_path / 'reconstruction.png').size[0] > 100


def test_multichannel(tmp_path, python):
    shorter = {
        'labeled = 96, 300, 120': 'labeled = 40, 8, 12',
        '--epochs 20 --batch-size 16': f'{SMALL} --batch-size 4',
        'epoch_20.pth': 'epoch_1.pth',
        '--seeds 2': '--seeds 1',
    }
    printed = run('multichannel', shorter, tmp_path, python)
    assert re.search(r'  channels +5 +uint16', printed)
    assert 'scratch' in (tmp_path / 'work_dirs/compare_classification/results.md').read_text()


def test_public_weights(tmp_path, python):
    pytest.importorskip('timm')
    for part in ('images', 'labeled/train/a', 'labeled/train/b', 'labeled/val/a', 'labeled/val/b'):
        (tmp_path / part).mkdir(parents=True)
        for i in range(8):
            pixels = np.random.default_rng(i).integers(0, 256, (40, 40, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / part / f'{i}.png')
    small = 'embed_dim=24, depths=(1, 1, 1, 1), num_heads=(1, 2, 4, 8)'
    shorter = {
        'pretrained=True': small,  # nothing is downloaded
        '/my/images': 'images',
        '/my/labeled': 'labeled',
        '--epochs 20': '--epochs 1 --img-size 32 --batch-size 4',
        'epoch_20.pth': 'epoch_1.pth',
        '--seeds 2': '--seeds 1',
    }
    printed = run('public_weights', shorter, tmp_path, python)
    assert 'no mask token in the file: a new one, needed in pretraining alone' in printed
    table = (tmp_path / 'work_dirs/compare_classification/results.md').read_text()
    assert all(start in table for start in ('scratch', 'public', 'continued'))
