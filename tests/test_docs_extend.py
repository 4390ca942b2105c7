"""The tutorial on extending: every file is short, and every config trains two steps."""

import re

import numpy as np
import pytest
from docs_pages import ROOT, blocks, run_page, shortened
from PIL import Image

pytestmark = pytest.mark.slow

TEXT = (ROOT / 'docs/tutorials/extend.md').read_text()
FILES = {
    re.match(r'# (my_\w+)\.py\n', block)[1]: block
    for language, block in blocks(TEXT)
    if language == 'python'
}
PARTS = ('target', 'mask', 'backbone', 'loss')


def test_each_part_is_one_short_file_and_a_config():
    assert {*FILES} == {f'my_{part}{end}' for part in PARTS for end in ('', '_config')}
    assert all(len(block.splitlines()) <= 30 for block in FILES.values())


def test_each_config_trains_two_steps(tmp_path, python):
    (tmp_path / 'images').mkdir()
    for i in range(4):
        pixels = np.random.default_rng(i).integers(0, 256, (100, 120, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / 'images' / f'{i}.png')
    page = shortened(TEXT, {'--data /my/images': '--data images --epochs 1 --batch-size 2'})
    run_page(page, tmp_path, python)
    for part in PARTS:
        log = next((tmp_path / 'work_dirs' / f'my_{part}_config').rglob('scalars.json')).read_text()
        assert '"loss": ' in log, part
        assert (tmp_path / 'work_dirs' / f'my_{part}_config' / 'epoch_1.pth').exists(), part
    logs = ''.join(path.read_text() for path in tmp_path.rglob('*.log'))
    for kind in ('Brightness', 'HalfPlaneMask', 'PlainConvNet', 'Charbonnier'):
        assert kind in logs, kind
