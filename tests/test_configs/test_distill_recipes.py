"""The recipes with a teacher: with any teacher's file in its place, they train."""

import numpy as np
import pytest
import torch
from config_files import load, names
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope
from PIL import Image

from simmim_mm.checkpoint import write_checkpoint
from simmim_mm.registry import MODELS

MICRO = [name for name in names('distill') if '-micro-' in name]
VIT = dict(embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=48)
STATS = dict(type='MIMDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3)


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
    init_default_scope('simmim_mm')
    backbone = dict(type='MaskedViT', arch=VIT, img_size=96, patch_size=16)
    weights = MODELS.build(backbone).state_dict()
    meta = dict(
        cfg=Config(dict(model=dict(backbone=backbone, data_preprocessor=STATS))).pretty_text
    )
    path = tmp_path_factory.mktemp('teacher') / 'teacher.pth'
    state = {f'backbone.{name}': value for name, value in weights.items()}
    write_checkpoint(dict(meta=meta, state_dict=state), path)
    return str(path)


def test_every_student_has_a_recipe():
    assert len(MICRO) == 3
    assert {'-'.join(name.split('_')[1].split('-')[:2]) for name in names('distill')} == {
        'swin-micro',
        'swin-tiny',
        'vit-micro',
        'vit-small',
    }


@pytest.mark.parametrize('name', MICRO)
def test_they_differ_from_the_plain_recipe_by_the_teacher_and_train(name, teacher, tmp_path):
    cfg = load(name)
    method = 'mae' if 'vit' in name else 'simmim'
    plain = load(f'{method}/{method}_{name.split("_", 1)[1]}')
    added = cfg.model.pop('teacher')
    for key in ('model', 'train_dataloader', 'optim_wrapper', 'param_scheduler', 'train_cfg'):
        assert cfg[key] == plain[key], key
    if added.type == 'FeatureTeacher':
        added.checkpoint = teacher
    init_default_scope('simmim_mm')
    pixels = np.random.default_rng(0).integers(0, 256, (120, 150, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'noise.png')
    pipeline = Compose(cfg.train_dataloader.dataset.pipeline)
    sample = pipeline(dict(img_path=str(tmp_path / 'noise.png')))
    torch.manual_seed(0)
    model = MODELS.build(dict(cfg.model, teacher=added))
    model.init_weights()
    data = model.data_preprocessor(pseudo_collate([sample, sample]))
    losses = model(**data, mode='loss')
    loss, _ = model.parse_losses(losses)
    loss.backward()
    assert 0.01 < losses['loss_features'] < 2 and losses['teacher_time'] >= 0
    for key, param in model.named_parameters():
        assert not param.requires_grad or param.grad is not None, key
