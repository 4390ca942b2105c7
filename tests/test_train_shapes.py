"""Short real training runs on images that are not square, not RGB, not 8-bit."""

import math
from pathlib import Path

import numpy as np
import pytest
import tifffile
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image

CONFIG = (
    Path(__file__).parents[1]
    / 'configs/simmim/simmim_swin-micro-w6_1xb64-coslr-100e_folder-96px.py'
)
NUM_IMAGES, BATCH, EPOCHS = 32, 8, 8


class RememberLosses(Hook):
    def __init__(self):
        self.losses = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(float(outputs['loss']))


def smooth_images(height, width, channels):
    """Waves of random direction and phase in each channel, values 0..1: something to predict."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width, :1][:2] / 40
    for _ in range(NUM_IMAGES):
        angle, phase = rng.uniform(0, 2 * math.pi, (2, channels))
        waves = np.sin(x * np.cos(angle) + y * np.sin(angle) + phase)
        yield (waves + 1) / 2


def write_png(path, image):
    Image.fromarray((255 * image).astype(np.uint8).squeeze()).save(path.with_suffix('.png'))


def write_tiff(path, image):
    # 16-bit, bands first, as satellite tiles come
    bands = (10000 * image).astype(np.uint16).transpose(2, 0, 1)
    tifffile.imwrite(path.with_suffix('.tif'), bands, photometric='minisblack')


def write_npy(path, image):
    np.save(path.with_suffix('.npy'), image.astype(np.float32))


def small_config(work_dir, data_root, size, channels, load, value_range):
    cfg = Config.fromfile(CONFIG)
    cfg.work_dir = str(work_dir)
    cfg.vis_backends = cfg.visualizer.vis_backends = [dict(type='LocalVisBackend')]
    model = cfg.model
    model.data_preprocessor.update(
        mean=[0.5 * value_range] * channels, std=[0.35 * value_range] * channels
    )
    model.backbone.update(
        arch=dict(embed_dims=24, depths=[1, 1, 2, 1], num_heads=[1, 2, 4, 8]),
        img_size=size,
        in_channels=channels,
    )
    model.neck.update(in_channels=192, out_channels=channels)
    loader = cfg.train_dataloader
    loader.update(batch_size=BATCH, num_workers=0, persistent_workers=False)
    loader.dataset.data_root = str(data_root)
    loader.dataset.pipeline[0].channels = load
    loader.dataset.pipeline[1].scale = size
    cfg.optim_wrapper.optimizer.lr = 2e-3
    cfg.param_scheduler = []
    cfg.train_cfg.max_epochs = cfg.default_hooks.checkpoint.interval = EPOCHS
    return cfg


@pytest.mark.parametrize(
    'size, channels, load, value_range, write',
    [
        pytest.param((96, 160), 3, 'rgb', 255, write_png, id='96x160'),
        pytest.param((96, 96), 1, 'gray', 255, write_png, id='1-channel'),
        pytest.param((96, 96), 5, 5, 10000, write_tiff, id='5-channels-tiff'),
        pytest.param((64, 96), 5, 5, 1, write_npy, id='5-channels-npy'),
    ],
)
def test_training_runs_and_learns(tmp_path, size, channels, load, value_range, write):
    folder = tmp_path / 'images'
    folder.mkdir()
    for i, image in enumerate(smooth_images(130, 190, channels)):
        write(folder / f'{i:02}', image)
    cfg = small_config(tmp_path / 'run', folder, size, channels, load, value_range)
    cfg.experiment_name = tmp_path.name
    runner = Runner.from_cfg(cfg)
    memory = RememberLosses()
    runner.register_hook(memory)
    runner.train()

    assert len(memory.losses) == EPOCHS * NUM_IMAGES // BATCH
    assert all(map(math.isfinite, memory.losses))
    assert np.mean(memory.losses[-4:]) < 0.8 * np.mean(memory.losses[:4])
    assert (tmp_path / 'run' / f'epoch_{EPOCHS}.pth').is_file()
