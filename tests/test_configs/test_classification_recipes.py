"""The classification recipes are those of the papers, and all of them build and suit their data.

Epochs are fractions. The figures are those of a batch of 2048 (SimMIM), 1024 (MAE, ConvMAE) or
16384 (linear probes).
"""

import math
import re

import numpy as np
import pytest
import torch
from config_files import _NoWeights, names
from config_files import load as load_named
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from PIL import Image
from test_recipes import rates

FOLDER = 'downstream/classification/'
FILES = [name.removeprefix(FOLDER) for name in names(FOLDER.rstrip('/'))]


def load(name: str) -> Config:
    return load_named(FOLDER + name)


def build(cfg: Config) -> torch.nn.Module:
    init_default_scope('mmpretrain')
    with _NoWeights():
        return MODELS.build(cfg.model)


def simmim(e):
    peak, low = 4 * 1.25e-3, 4 * 2.5e-7
    if e < 20:
        return low + (peak - low) * e / 20
    return low + (peak - low) * (1 + math.cos(math.pi * e / 100)) / 2


def mae(e):
    peak, low = 5e-4 * 4, 1e-6
    if e < 5:
        return peak * e / 5
    return low + (peak - low) * (1 + math.cos(math.pi * (e - 5) / 95)) / 2


def linear(e):
    peak = 0.1 * 16384 / 256
    return peak * e / 10 if e < 10 else peak * (1 + math.cos(math.pi * (e - 10) / 80)) / 2


SIMMIM = dict(curve=simmim, batch=2048, clip=5.0, layers=24, head_std=0.02)
MAE = dict(curve=mae, batch=1024, clip=None, layers=12, head_std=2e-5)
FINETUNE = {
    'finetune_swin-base-w6_16xb128-amp-coslr-100e_in1k-192px.py': dict(
        SIMMIM, decay=0.9, drop_path=0.1
    ),
    'finetune_swin-base-w7_16xb128-amp-coslr-100e_in1k.py': dict(SIMMIM, decay=0.8, drop_path=0.1),
    'finetune_swin-large-w14_16xb128-amp-coslr-100e_in1k.py': dict(
        SIMMIM, decay=0.7, drop_path=0.2
    ),
    'finetune_swinv2-base-w14_16xb128-amp-coslr-100e_in1k.py': dict(
        SIMMIM, decay=0.75, drop_path=0.1
    ),
    'finetune_simmim-vit-base-p16_16xb128-amp-coslr-100e_in1k.py': dict(
        SIMMIM, decay=0.65, drop_path=0.1, layers=12
    ),
    'finetune_mae-vit-base-p16_8xb128-amp-coslr-100e_in1k.py': dict(MAE, decay=0.65, drop_path=0.1),
    'finetune_convvit-base_8xb128-amp-coslr-100e_in1k.py': dict(
        MAE, decay=0.65, drop_path=0.1, layers=15
    ),
}
LINEAR = [name for name in FILES if name.startswith('linear_') and '_in1k' in name]


@pytest.fixture(scope='module')
def image_file(tmp_path_factory):
    path = tmp_path_factory.mktemp('images') / 'noise.png'
    pixels = np.random.default_rng(0).integers(0, 256, (300, 420, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return str(path)


@pytest.mark.parametrize('name', FILES)
def test_name_tells_the_truth(name):
    cfg = load(name)
    gpus, per_gpu = map(int, re.search(r'_(\d+)xb(\d+)', name).groups())
    assert cfg.train_dataloader.batch_size == per_gpu
    assert cfg.auto_scale_lr.base_batch_size == gpus * per_gpu
    epochs = int(re.search(r'-(\d+)e_', name)[1])
    assert cfg.train_cfg.max_epochs == cfg.param_scheduler[-1].end == epochs
    assert cfg.optim_wrapper.type == (
        'simmim_mm.AmpOptimWrapper' if '-amp-' in name else 'OptimWrapper'
    )
    size = re.search(r'-(\d+)px', name)
    assert cfg.model.backbone.img_size == (int(size[1]) if size else 224)
    assert cfg.model.head.num_classes == cfg.model.data_preprocessor.num_classes
    assert cfg.model.type.endswith('FrozenClassifier') == (not name.startswith('finetune_'))


def test_every_family_has_every_kind():
    kinds = {}
    for name in FILES:
        kind = name.split('_')[0]
        backbone = load(name).model.backbone.type
        kinds.setdefault(kind, set()).add(backbone)
    families = {f'simmim_mm.{n}' for n in ('MaskedSwin', 'MaskedSwinV2', 'MaskedBEiT', 'MaskedViT')}
    families.add('simmim_mm.MaskedConvViT')
    assert kinds == dict.fromkeys(('finetune', 'linear', 'attentive'), families)


@pytest.mark.parametrize('name', FILES)
def test_builds_and_suits_its_data(name, image_file):
    cfg = load(name)
    model = build(cfg)
    side = cfg.model.backbone.img_size
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        pixels = Image.open(image_file).crop((0, 0, 32, 32)) if side == 32 else None
        if pixels is not None:  # of CIFAR-10's own size, which validation leaves as it is
            image_file = image_file.replace('noise', 'small')
            pixels.save(image_file)
        sample = Compose(loader.dataset.pipeline)(dict(img_path=image_file, gt_label=1))
        assert sample['inputs'].shape == (3, side, side)
    if 'swinv2' in name:  # its attention does not run without memory
        assert model.backbone.norm3.normalized_shape == (model.head.in_channels,)
        return
    with torch.device('meta'):
        feats = model.backbone.to('meta').eval()(torch.empty(2, 3, side, side))
        if model.neck is not None:
            feats = model.neck.to('meta')(feats)
        assert feats[-1].shape == (2, model.head.in_channels)
    if name in FINETUNE:  # or training on several processes would have to search for them
        feats[-1].sum().backward()
        parts = [model.backbone, *([] if model.neck is None else [model.neck])]
        named = [item for part in parts for item in part.named_parameters()]
        assert not [n for n, p in named if p.requires_grad and p.grad is None]


@pytest.mark.parametrize('name', FINETUNE)
def test_learning_rates(name, tmp_path):
    recipe, cfg = FINETUNE[name], load(name)
    curve = rates(cfg, tmp_path)
    for e in (0, 2.5, 5, 12, 20, 60, 99.5):
        assert curve[int(2 * e)] == pytest.approx(recipe['curve'](e), rel=1e-9), f'epoch {e}'
    gpus, per_gpu = map(int, re.search(r'_(\d+)xb(\d+)', name).groups())
    assert gpus * per_gpu == recipe['batch']


@pytest.mark.parametrize('name', FINETUNE)
def test_rates_decay_from_the_head_to_the_stem(name):
    recipe, cfg = FINETUNE[name], load(name)
    model = build(cfg)
    wrapper = dict(cfg.optim_wrapper, type='OptimWrapper')
    wrapper.pop('dtype', None)  # of the mixed precision
    optimizer = build_optim_wrapper(model, wrapper).optimizer
    assert type(optimizer) is torch.optim.AdamW
    groups = {id(p): group for group in optimizer.param_groups for p in group['params']}
    base, layers = cfg.optim_wrapper.optimizer.lr, recipe['layers']
    for part, power in (('head.', 0), ('backbone.patch_embed', layers + 1)):
        names = [n for n, p in model.named_parameters() if n.startswith(part)]
        names = [
            n
            for n in names
            if not n.startswith(
                ('backbone.patch_embed2', 'backbone.patch_embed3', 'backbone.patch_embed4')
            )
        ]
        assert names
        for parameter in names:
            lr = groups[id(model.get_parameter(parameter))]['lr']
            assert lr == pytest.approx(base * recipe['decay'] ** power, rel=1e-6), parameter
    for parameter, p in model.named_parameters():
        if p.requires_grad:
            exempt = p.ndim == 1 or re.search(
                'token|pos_embed|bias_table|cpb|logit_scale', parameter
            )
            assert groups[id(p)]['weight_decay'] == (0 if exempt else 0.05), parameter
    clip = cfg.optim_wrapper.get('clip_grad')
    assert (clip and clip['max_norm']) == recipe['clip']


@pytest.mark.parametrize('name', FINETUNE)
def test_model_and_regularization(name):
    recipe, cfg = FINETUNE[name], load(name)
    model = build(cfg)
    drop_path = [m.drop_prob for m in model.modules() if type(m).__name__ == 'DropPath']
    assert max(drop_path) == pytest.approx(recipe['drop_path'])
    assert cfg.model.head.loss.label_smooth_val == 0.1
    assert cfg.model.head.init_cfg.std == recipe['head_std']
    assert [(a.type, a.alpha) for a in cfg.model.train_cfg.augments] == [
        ('Mixup', 0.8),
        ('CutMix', 1.0),
    ]
    _, crop, flip, randaug, erasing, _ = cfg.train_dataloader.dataset.pipeline
    assert crop.interpolation == 'bicubic' and flip.prob == 0.5
    assert (randaug.magnitude_level, randaug.magnitude_std, randaug.num_policies) == (9, 0.5, 2)
    assert erasing.erase_prob == 0.25 and erasing.mode == 'rand'
    resize, center = cfg.val_dataloader.dataset.pipeline[1:3]
    assert resize.scale == int(256 / 224 * center.crop_size)
    # a norm behind the pooling instead of in front of it, except in Swin
    names = dict(model.named_modules())
    if 'vit' in name:
        before = [n for n in ('backbone.ln1', 'backbone.norm') if n in names]
        assert all(isinstance(names[n], torch.nn.Identity) for n in before)
        after = names['backbone.ln2' if 'backbone.ln2' in names else 'neck.norm']
        assert isinstance(after, torch.nn.LayerNorm)
    assert not any('bias' in n and p.requires_grad is False for n, p in model.named_parameters())


@pytest.mark.parametrize('name', LINEAR)
def test_linear_probe(name, tmp_path):
    cfg = load(name)
    sgd = dict(type='SGD', lr=cfg.optim_wrapper.optimizer.lr)  # has the same curve
    curve = rates(Config(dict(cfg.to_dict(), optim_wrapper=dict(optimizer=sgd))), tmp_path)
    for e in (0, 5, 10, 50, 89.5):
        assert curve[int(2 * e)] == pytest.approx(linear(e), rel=1e-9), f'epoch {e}'
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.momentum, optimizer.weight_decay) == ('LARS', 0.9, 0.0)
    model = build(cfg)
    norms = [m for m in model.neck.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    assert len(norms) == 1 and not norms[0].affine and norms[0].eps == 1e-6
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert trained == {'head.fc.weight', 'head.fc.bias'}
    wrapper = build_optim_wrapper(model, dict(cfg.optim_wrapper, type='OptimWrapper'))
    excluded = [
        g.get('lars_exclude', False)
        for g in wrapper.optimizer.param_groups
        if g['params'][0].requires_grad
    ]
    assert sorted(excluded) == [False, True]  # weight, bias
    kinds = [step.type for step in cfg.train_dataloader.dataset.pipeline]
    assert kinds == ['LoadImageFromFile', 'RandomResizedCrop', 'RandomFlip', 'PackInputs']
