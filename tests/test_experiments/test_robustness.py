"""Models measured on corrupted images: what is kept, which classes count, and the tables."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from simmim_mm.cli import main
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


def write_classifier(path: Path, classes: list[str], seed: int = 0, **loader) -> Path:
    """A checkpoint as a training writes it, with random weights."""
    model = dict(
        type='mmpretrain.ImageClassifier',
        backbone=BACKBONE,
        neck=dict(type='mmpretrain.GlobalAveragePooling'),
        head=dict(type='mmpretrain.LinearClsHead', num_classes=len(classes), in_channels=16),
        data_preprocessor=dict(
            type='mmpretrain.ClsDataPreprocessor', mean=[120] * 3, std=[60] * 3, to_rgb=False
        ),
    )
    pipeline = [LOAD, dict(type='mmpretrain.CenterCrop', crop_size=32)]
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
            **loader,
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


@pytest.fixture
def tool(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*args: object) -> None:
        main(['robustness', *map(str, args)])

    return run


def test_first(tool, tmp_path, capsys):
    names = ['a', 'b', 'c', 'd']
    data = write_images(tmp_path / 'data', names)
    files = [write_classifier(tmp_path / f'{i}/x.pth', names, i) for i in range(3)]
    tool(f'a={files[0]}', f'a={files[1]}', f'b={files[2]}', data, '--corruptions', 'gaussian_noise', 'spatter', '--severities', 1, 5)
    print(capsys.readouterr().out)
