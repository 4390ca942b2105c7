"""A pretraining that takes a second: a tiny model, and the images that it trains on."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
CONFIG = f"""
_base_ = '{ROOT}/configs/_base_/default_runtime.py'

pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizedCrop', scale=32, crop_ratio_range=(0.5, 1.0)),
    dict(type='RandomBlockMask', mask_patch_size=16, mask_ratio=0.5),
    dict(type='mmpretrain.PackInputs', algorithm_keys=['mask']),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type='ReproducibleSampler', shuffle=True),
    dataset=dict(type='ImageDataset', data_root='images', pipeline=pipeline),
)
val_dataloader = dict(dataset=dict(data_root='images', indices=5))
model = dict(
    type='MaskedImageModel',
    data_preprocessor=dict(
        type='MIMDataPreprocessor', mean=[123.7, 116.3, 103.5], std=[58.4, 57.1, 57.4]
    ),
    backbone=dict(
        type='MaskedViT',
        arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32),
        img_size=32,
        patch_size=8,
        drop_path_rate=0.4,
    ),
    neck=dict(type='PixelShuffleDecoder'),
    head=dict(type='PixelHead'),
)
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05))
param_scheduler = dict(type='CosineAnnealingLR', T_max=4, convert_to_iter_based=True)
train_cfg = dict(type='EpochTrainLoop', max_epochs=4)
default_hooks = dict(
    logger=dict(interval=1),
    checkpoint=dict(interval=1, max_keep_ckpts=2, save_best='masked_loss/loss', rule='less'),
)
visualizer = dict(vis_backends=[dict(type='LocalVisBackend')])
"""


# Another one, of which each image goes through every operation alike.
SWIN = dict(
    type='MaskedImageModel',
    data_preprocessor=dict(
        type='MIMDataPreprocessor', mean=[123.7, 116.3, 103.5], std=[58.4, 57.1, 57.4]
    ),
    backbone=dict(
        type='MaskedSwin',
        arch=dict(embed_dims=12, depths=[2, 2], num_heads=[2, 4]),
        img_size=32,
        window_size=4,
        drop_path_rate=0.0,
        out_indices=(1,),
    ),
    neck=dict(type='PixelShuffleDecoder'),
    head=dict(type='PixelHead'),
)


def enter_project(folder: Path, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with 24 images and ``tiny.py`` becomes the working directory, also of processes."""
    write_images(folder / 'images', 24)
    (folder / 'tiny.py').write_text(config)
    monkeypatch.chdir(folder)
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    monkeypatch.setenv('PYTHONPATH', str(ROOT))


def write_images(folder: Path, number: int) -> None:
    """So many images ``NN.png`` of random colors, the same ones each time, also in their dates."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for i in range(number):
        pixels = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        path = folder / f'{i:02}.png'
        Image.fromarray(pixels).resize((48, 40), Image.Resampling.BICUBIC).save(path)
        os.utime(path, (1e9, 1e9))  # folders of trials are named after the data
