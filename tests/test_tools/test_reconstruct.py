"""simmim reconstruct on the checkpoint of a tiny model."""

import importlib.util
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from simmim_mm.cli import parse_args

ROOT = Path(__file__).parents[2]


def _module(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


toys = _module(ROOT / 'tests' / 'vis_toys.py')
COLUMN, ROW, CAPTION = 192 + 6, 128 + 6, 22  # 48 x 32 pixels, enlarged by 4


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A work folder with photographs, a checkpoint, and the tool ready to be called."""
    toys.write_photos(tmp_path / 'photos')
    toys.save_checkpoint(tmp_path / 'run.pth', toys.tiny_config())
    monkeypatch.chdir(tmp_path)

    def call(*args: str) -> np.ndarray:
        verb, arguments = parse_args(['reconstruct', *args])
        verb.run(arguments)
        name = args[args.index('--out') + 1] if '--out' in args else 'reconstruction.png'
        return np.asarray(Image.open(tmp_path / name)).astype(int)

    return tmp_path, call


def test_folder_gives_a_row_for_each_image(folder, capsys):
    _, call = folder
    assert call('run.pth', 'photos').shape == (CAPTION + 3 * ROW, 6 + 3 * COLUMN, 3)
    assert call('run.pth', 'photos', '--num', '2').shape[0] == CAPTION + 2 * ROW
    assert 'chelsea.jpg' in capsys.readouterr().out


def test_visible_pixels_are_the_originals_and_masks_follow_the_seed(folder):
    _, call = folder
    grid = call('run.pth', 'photos/coffee.jpg', '--out', 'new/grid.png')
    original, masked, filled = (
        grid[CAPTION : CAPTION + 128, 6 + i * COLUMN : 6 + i * COLUMN + 192] for i in range(3)
    )
    kept = (original == masked).all(-1)
    assert 0.4 < kept.mean() < 0.6
    np.testing.assert_array_equal(original[kept], filled[kept])
    again = call('run.pth', 'photos/coffee.jpg')
    np.testing.assert_array_equal(grid, again)
    assert (call('run.pth', 'photos/coffee.jpg', '--seed', '1') != grid).any()


def test_painted_mask_shows_the_whole_image(folder):
    folder, call = folder
    hole = np.zeros((400, 600), np.uint8)
    hole[100:180, 200:300] = 255
    Image.fromarray(hole).save(folder / 'hole.png')
    grid = call('run.pth', 'photos/coffee.jpg', '--mask', 'hole.png')
    assert grid.shape == (CAPTION + 400 + 6, 6 + 3 * 606, 3)
    original, filled = grid[CAPTION:, 6:606], grid[CAPTION:, 6 + 2 * 606 : 606 + 2 * 606]
    changed = (original != filled).any(-1)[:400]
    assert changed[100:180, 200:300].mean() > 0.9
    changed[100:180, 200:300] = False
    assert not changed.any()


def test_a_normalized_target_is_explained_and_other_targets_are_shown(folder):
    folder, call = folder
    plain = call('run.pth', 'photos')
    cfg = toys.tiny_config(target=[dict(type='LocalNorm', patch_size=15)])
    toys.save_checkpoint(folder / 'norm.pth', cfg)
    noted = call('norm.pth', 'photos', '--stats', 'visible')
    assert noted.shape[0] > plain.shape[0] and noted.shape[1] == plain.shape[1]


def test_missing_decoder_is_warned_of(folder, capsys):
    folder, call = folder
    toys.save_checkpoint(folder / 'exported.pth', toys.tiny_config(), drop='neck.')
    call('exported.pth', 'photos')
    assert 'no weights of the decoder' in capsys.readouterr().err


def test_unreadable_images_are_skipped(folder, capsys):
    folder, call = folder
    (folder / 'photos' / 'broken.jpg').write_text('not an image')
    assert call('run.pth', 'photos').shape[0] == CAPTION + 3 * ROW
    assert 'broken.jpg' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (('gone.pth', 'photos'), 'no checkpoint file at gone.pth'),
        (('nan.pth', 'photos'), 'nan.pth holds NaN or infinity'),
        (('photos/coffee.jpg', 'photos'), 'looks like an image'),
        (('run.pth', 'gone'), 'no image or folder at gone'),
        (('run.pth', 'empty'), 'empty'),
        (('run.pth', 'photos', '--mask', 'x.png'), 'is a folder'),
        (('run.pth', 'photos/coffee.jpg', '--mask', 'x.png'), 'no mask file x.png'),
        (('run.pth', 'text.jpg'), 'text.jpg'),
        (('run.pth', 'photos', '--num', '0'), '--num'),
    ],
)
def test_errors_name_what_is_wrong(folder, args, message):
    folder, call = folder
    (folder / 'empty').mkdir()
    (folder / 'text.jpg').write_text('not an image')
    spoiled = torch.load(folder / 'run.pth', weights_only=False)
    next(iter(spoiled['state_dict'].values())).fill_(torch.nan)
    torch.save(spoiled, folder / 'nan.pth')
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        call(*args)


def test_errors_are_one_line(tmp_path, python):
    command = [python, str(ROOT / 'tools' / 'reconstruct.py'), 'gone.pth', 'x.png']
    path = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
    environment = dict(os.environ, PYTHONPATH=path)
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert result.returncode == 2
    assert result.stderr.startswith('error: no image or folder at x.png')
    assert 'Traceback' not in result.stderr
