"""Tiny checkpoints as a training writes them, with random weights, and images."""

from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from PIL import Image

from simmim_mm.registry import MODELS

BACKBONE = dict(
    type='simmim_mm.MaskedSwin',
    arch=dict(embed_dims=8, depths=[1, 1], num_heads=[1, 2]),
    img_size=32,
    window_size=4,
    out_indices=(1,),
)
LOAD = dict(type='simmim_mm.LoadImage')


def write_images(root: Path, names: list[str], count: int = 4, size: int = 36) -> Path:
    """Folders of smooth noise, a color for each class."""
    rng = np.random.default_rng(0)
    for i, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for k in range(count):
            color = np.eye(3)[i % 3] * 120
            image = rng.normal(100, 20, (size, size, 3)) + color
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / name / f'{k}.png')
    return root


def write_classifier(
    path: Path, classes: list[str], seed: int = 0, load: dict | None = None
) -> Path:
    """A checkpoint as a training writes it, with random weights."""
    model = dict(
        type='simmim_mm.FrozenClassifier',  # as of a linear probe
        backbone=BACKBONE,
        neck=dict(type='mmpretrain.GlobalAveragePooling'),
        head=dict(type='mmpretrain.LinearClsHead', num_classes=len(classes), in_channels=16),
        data_preprocessor=dict(
            type='mmpretrain.ClsDataPreprocessor', mean=[120] * 3, std=[60] * 3, to_rgb=False
        ),
    )
    pipeline = [load or LOAD, dict(type='mmpretrain.CenterCrop', crop_size=32)]
    pipeline += [dict(type='mmpretrain.PackInputs')]
    dataset = dict(type='mmpretrain.CustomDataset', data_root='none', pipeline=pipeline)
    cfg = dict(
        default_scope='mmpretrain',
        custom_imports=dict(imports=['simmim_mm']),
        model=model,
        val_dataloader=dict(
            batch_size=4,
            num_workers=0,
            dataset=dataset,
            sampler=dict(type='DefaultSampler', shuffle=False),
        ),
        val_evaluator=dict(type='mmpretrain.Accuracy', topk=(1,)),
        val_cfg=dict(),
    )
    torch.manual_seed(seed)
    state = MODELS.build(model).state_dict()
    meta = dict(cfg=Config(cfg).pretty_text, dataset_meta=dict(classes=classes))
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(meta=meta, state_dict=state), path)
    return path


def write_pretraining(path: Path, seed: int = 0) -> Path:
    """The same of a SimMIM pretraining."""
    model = dict(
        type='MaskedImageModel',
        backbone=BACKBONE,
        neck=dict(type='PixelShuffleDecoder'),
        head=dict(type='PixelHead', loss=dict(type='MaskedPixelLoss', criterion='l1')),
        data_preprocessor=dict(type='MIMDataPreprocessor', mean=[120] * 3, std=[60] * 3),
    )
    pipeline = [LOAD, dict(type='RandomResizedCrop', scale=32)]
    pipeline += [dict(type='RandomBlockMask', mask_patch_size=8)]
    pipeline += [dict(type='mmpretrain.PackInputs', algorithm_keys=['mask'])]
    dataset = dict(type='ImageDataset', data_root='none', pipeline=pipeline)
    loader = dict(batch_size=4, num_workers=0, dataset=dataset)
    cfg = dict(default_scope='simmim_mm', model=model, train_dataloader=loader)
    torch.manual_seed(seed)
    state = MODELS.build(model).state_dict()
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(meta=dict(cfg=Config(cfg).pretty_text), state_dict=state), path)
    return path
