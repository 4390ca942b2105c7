"""The page on the foreground branch: its commands train, on few images and for one epoch."""

import numpy as np
import pytest
from docs_pages import ROOT, run_page, shortened
from PIL import Image

pytestmark = pytest.mark.slow


def test_its_commands_train_on_the_images_that_they_name(tmp_path, python):
    page = (ROOT / 'docs/how-to/foreground.md').read_text()
    (tmp_path / 'images').mkdir()
    for i in range(6):
        pixels = np.random.default_rng(i).integers(0, 256, (100, 120, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / 'images' / f'{i}.png')
    page = shortened(page, {'--data /my/images': '--data images --epochs 1'})
    printed = run_page(page, tmp_path, python)
    for run in ('simmim_swin-micro-w6-foreground_1xb64-coslr-100e_folder-96px', 'my_foreground'):
        assert (tmp_path / 'work_dirs' / run / 'epoch_1.pth').exists(), printed[-2000:]
    assert printed.count('Unreadable files: 0 of 6') >= 2, printed[-2000:]
    assert printed.count('loss_foreground: ') >= 2, printed[-2000:]
