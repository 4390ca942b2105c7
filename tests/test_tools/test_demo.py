"""tools/demo.py: what it trains on, what it holds out, and a run of a few iterations."""

import importlib.util
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from simmim_mm.registry import MODELS

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location('demo', ROOT / 'tools' / 'demo.py')
demo = importlib.util.module_from_spec(spec)
spec.loader.exec_module(demo)


def _images(folder, count: int, size=(60, 40)) -> Path:
    folder.mkdir()
    for i in range(count):
        pixels = np.random.RandomState(i).randint(0, 256, (4, 6, 3), np.uint8)
        Image.fromarray(pixels).resize(size).save(folder / f'{i:03d}.png')
    return folder


def test_sample_photographs_are_in_the_environment():
    training, held_out = demo.sample_photographs()
    assert sorted(path.name for path in held_out) == sorted(demo.HELD_OUT)
    assert len(training) == sum(map(len, demo.SAMPLES.values())) - len(demo.HELD_OUT)


def test_blocks_are_a_sixth_of_the_side_at_ratio_0_6():
    cfg = Config.fromfile(demo.CONFIG)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        (mask,) = (s for s in loader.dataset.dataset.pipeline if s['type'] == 'RandomBlockMask')
        assert mask['mask_patch_size'] * 6 == cfg.img_size and mask['mask_ratio'] == 0.6
    assert cfg.param_scheduler[-1].end == cfg.train_cfg.max_iters


@pytest.mark.parametrize(
    ('name', 'fill', 'stride'),
    [
        ('simmim_demo', 'SmoothFill', 8),
        ('transfer_pretrain', 'NoneType', 16),
        ('foreground_shapes', 'NoneType', 16),
    ],
)
def test_only_the_demo_on_photographs_fills_the_holes(name, fill, stride):
    model = MODELS.build(Config.fromfile(demo.CONFIG.with_name(f'{name}.py')).model)
    assert type(model.fill).__name__ == fill
    assert model.backbone.out_strides == (stride,) and model.residual is None


@pytest.mark.parametrize(('count', 'held_out'), [(2, 1), (9, 1), (10, 1), (11, 2), (40, 4)])
def test_a_tenth_of_the_users_images_is_held_out(tmp_path, count, held_out):
    folder = _images(tmp_path / 'mine', count)
    training, validation = demo.own_photographs(str(folder))
    assert len(validation) == held_out and len(training) == count - held_out
    assert not set(training) & set(validation)


def test_a_single_image_is_too_few(tmp_path):
    with pytest.raises(FileNotFoundError, match='holds 1 image: at least 2'):
        demo.own_photographs(str(_images(tmp_path / 'mine', 1)))


def test_many_images_are_thinned_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, 'MAX_IMAGES', 20)
    training, validation = demo.own_photographs(str(_images(tmp_path / 'mine', 41)))
    assert len(training) + len(validation) == 20 and training[-1].endswith('038.png')
    assert '20 of the 41 images' in capsys.readouterr().out


def test_preparation_reduces_skips_and_starts_anew(tmp_path, capsys):
    folder = _images(tmp_path / 'mine', 2, size=(1000, 640))
    (folder / 'broken.png').write_text('not an image')
    for _ in range(2):
        assert demo.prepare(sorted(folder.iterdir()), tmp_path / 'out') == 2
    prepared = sorted((tmp_path / 'out').iterdir())
    assert [Image.open(path).size for path in prepared] == [(500, 320)] * 2
    assert 'broken.png' in capsys.readouterr().err


@pytest.mark.parametrize('bfloat16', [True, False])
def test_mixed_precision_where_the_processor_has_it(tmp_path, monkeypatch, bfloat16):
    (tmp_path / 'last_checkpoint').write_text('iter_1.pth')
    calls = []
    monkeypatch.setattr(demo, 'cpu_has_bfloat16', lambda: bfloat16)
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    monkeypatch.setattr(demo, 'start', lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(demo, 'wait', lambda processes: None)
    assert demo.pretrain(demo.CONFIG, tmp_path, {}, batch=2) == Path('iter_1.pth')
    assert ('--amp' in calls[0]) == bfloat16


def test_table_gives_the_gain_over_the_mean_color():
    text = demo.table({'model': 0.6, 'mean color': 0.8, 'OpenCV inpainting': 0.7})
    assert re.search(r'model +0\.6000 +25\.0%', text)
    assert re.search(r'OpenCV inpainting +0\.7000 +12\.5%', text)


@pytest.mark.slow
def test_a_short_run_ends_with_checkpoint_log_and_pictures(tmp_path, python):
    _images(tmp_path / 'mine', 4)
    command = [python, str(demo.TOOLS / 'demo.py'), '--iters', '2']
    command += ['--data', 'mine', '--out', 'out']
    path = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
    environment = dict(os.environ, PYTHONPATH=path)
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=600
    )
    assert result.returncode == 0, result.stderr[-3000:]
    for label in ('checkpoint', 'log', 'pictures'):
        (file,) = re.findall(rf'^{label} +(\S+)$', result.stdout, re.MULTILINE)
        assert (tmp_path / file).is_file()
    errors = re.findall(r'^  [A-Za-z ]+? {2,}(\d\.\d+) +-?[\d.]+%$', result.stdout, re.MULTILINE)
    assert len(errors) == 4
    (validated,) = re.findall(r'masked_loss/loss: (\d\.\d+)', result.stdout)
    assert abs(float(validated) - float(errors[0])) < 1e-3  # the same images and masks
