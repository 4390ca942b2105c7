"""The recipes are those of the authors' code and papers, and the checks notice a deviation.

Epochs are fractions, e = iteration / iterations per epoch. The figures are those of a total batch
of 2048 (SimMIM), 4096 (MAE, LSMAE) or 3072 (ConvMAE).
"""

import copy
import math
import time

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as F
from config_files import build_model, load
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import TRANSFORMS, init_default_scope
from mmengine.runner import Runner
from PIL import Image

SWIN_100 = 'simmim/simmim_swin-base-w6_8xb256-amp-coslr-100e_in1k-192px.py'
SWIN_800 = 'simmim/simmim_swin-base-w6_16xb128-amp-steplr-800e_in1k-192px.py'
SWIN_L = 'simmim/simmim_swin-large-w12_16xb128-amp-steplr-800e_in1k-192px.py'
SWIN_V2 = 'simmim/simmim_swinv2-base-w12_16xb128-amp-steplr-800e_in1k-192px.py'
VIT = 'simmim/simmim_vit-base-p16_16xb128-amp-steplr-800e_in1k-224px.py'
MAE = 'mae/mae_vit-base-p16_8xb512-amp-coslr-{}e_in1k.py'
MAE_L = 'mae/mae_vit-large-p16_8xb512-amp-coslr-800e_in1k.py'
CONVMAE = 'convmae/convmae_convvit-base_24xb128-amp-coslr-1600e_in1k.py'
LSMAE = 'lsmae/lsmae_vit-base-p16_32xb128-amp-coslr-800e_in1k-448px.py'


def simmim_100(e):
    if e < 10:
        return 4 * (1e-6 + (2e-4 - 1e-6) * e / 10)
    return 4 * (1e-5 + (2e-4 - 1e-5) * (1 + math.cos(math.pi * e / 100)) / 2)


def simmim_800(e):
    if e < 10:
        return 4 * (5e-7 + (1e-4 - 5e-7) * e / 10)
    return 4e-4 if e < 700 else 4e-5


def mae(epochs, batch=4096):
    def rate(e):
        peak = 1.5e-4 * batch / 256
        if e < 40:
            return peak * e / 40
        return peak * (1 + math.cos(math.pi * (e - 40) / (epochs - 40))) / 2

    return rate


SIMMIM = dict(
    curve=simmim_800,
    epochs=800,
    betas=(0.9, 0.999),
    clip=5.0,
    exempt=['mask_token', 'relative_position_bias_table'],
    drop_path=0.0,
    scale=(0.67, 1.0),
    interpolation='bilinear',
    size=192,
    blocks=(6, 22),  # blocks per side, blocks masked: ceil(36 * 0.6)
    target=[],
    criterion='l1',
    width=128,
    depth=24,
)
MAE_BASE = dict(
    curve=mae(300),
    epochs=300,
    betas=(0.9, 0.95),
    clip=None,
    exempt=[],
    drop_path=0.0,
    scale=(0.2, 1.0),
    interpolation='bicubic',
    size=224,
    blocks=(14, 147),  # 196 * 0.75
    target=[('NormPix', 16)],
    criterion='l2',
    width=768,
    depth=12,
)
RECIPES = {
    SWIN_100: dict(SIMMIM, curve=simmim_100, epochs=100, window=6),
    SWIN_800: dict(SIMMIM, window=6),
    SWIN_L: dict(SIMMIM, window=12, width=192),
    SWIN_V2: dict(
        SIMMIM,
        window=12,
        drop_path=0.1,
        target=[('LocalNorm', 47)],
        exempt=['mask_token', 'cpb_mlp', 'logit_scale'],
    ),
    VIT: dict(
        SIMMIM,
        exempt=[*SIMMIM['exempt'], 'cls_token'],
        drop_path=0.1,
        size=224,
        blocks=(7, 30),
        width=768,
        depth=12,
    ),
    MAE.format(300): MAE_BASE,
    MAE.format(800): dict(MAE_BASE, curve=mae(800), epochs=800),
    MAE.format(1600): dict(MAE_BASE, curve=mae(1600), epochs=1600),
    MAE_L: dict(MAE_BASE, curve=mae(800), epochs=800, width=1024, depth=24),
    CONVMAE: dict(MAE_BASE, curve=mae(1600, 3072), epochs=1600, width=256, depth=15),
    LSMAE: dict(MAE_BASE, curve=mae(800), epochs=800, size=448),
}


# -- Optimization ----------------------------------------------------------------------------------


class OneWeight(BaseModel):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1, 1))

    def forward(self, inputs, mode):
        raise NotImplementedError


def rates(cfg, work_dir, per_epoch=2):
    """Learning rate of every iteration, from the schedulers as mmengine's Runner builds them."""
    cfg = copy.deepcopy(cfg)
    runner = Runner(
        model=OneWeight(),
        work_dir=str(work_dir),
        train_dataloader=dict(
            dataset=[0] * per_epoch, batch_size=1, sampler=dict(type='DefaultSampler')
        ),
        train_cfg=cfg.train_cfg,
        optim_wrapper=dict(type='OptimWrapper', optimizer=cfg.optim_wrapper.optimizer),
        param_scheduler=cfg.param_scheduler,
        default_scope='simmim_mm',
        experiment_name=f'curve_{time.time_ns()}',
        log_level='ERROR',
    )
    epochs = runner.train_loop.max_epochs
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    curve = []
    schedulers = runner.build_param_scheduler(runner.param_schedulers)
    for _ in range(epochs * per_epoch):
        curve.append(runner.optim_wrapper.get_lr()['lr'][0])
        runner.optim_wrapper.optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return curve


def check_curve(cfg, recipe, work_dir):
    curve = rates(cfg, work_dir)
    last = recipe['epochs']
    assert len(curve) == 2 * last
    at = (0, 0.5, 5, 9.5, 10, 39.5, 40, 50, last - 100.5, last - 100, last - 0.5)
    for e in [e for e in at if e >= 0]:
        assert curve[int(2 * e)] == pytest.approx(recipe['curve'](e), rel=1e-9), f'epoch {e}'


def check_optimizer(cfg, recipe, work_dir):
    model = build_model(cfg)
    wrapper = dict(cfg.optim_wrapper, type='OptimWrapper')
    optimizer = build_optim_wrapper(model, wrapper).optimizer
    assert isinstance(optimizer, torch.optim.AdamW)
    decay = {}
    for group in optimizer.param_groups:
        assert group['betas'] == recipe['betas']
        assert group['eps'] == 1e-8
        assert group['lr'] == cfg.optim_wrapper.optimizer.lr  # one rate for all
        decay.update({id(p): group['weight_decay'] for p in group['params']})
    found = set()
    for name, param in model.named_parameters():
        if not param.requires_grad:
            continue
        keywords = [k for k in recipe['exempt'] if k in name]
        found.update(keywords)
        expected = 0.0 if keywords or param.ndim == 1 else 0.05
        assert decay[id(param)] == expected, name
    assert found == set(recipe['exempt'])
    clip = cfg.optim_wrapper.get('clip_grad')
    assert (clip and clip['max_norm']) == recipe['clip']
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'


# -- Model -----------------------------------------------------------------------------------------


def check_model(cfg, recipe, work_dir):
    model = build_model(cfg)
    backbone = model.backbone
    dims = backbone.embed_dims
    assert (dims[0] if isinstance(dims, (list, tuple)) else dims) == recipe['width']
    drop_path = [m.drop_prob for m in model.modules() if type(m).__name__ == 'DropPath']
    assert max(drop_path, default=0.0) == pytest.approx(recipe['drop_path'])
    if 'window' in recipe:
        windows = {m.window_size for m in backbone.modules() if hasattr(m, 'softmax')}
        assert max(windows) == (recipe['window'],) * 2
    targets = [(type(t).__name__, t.patch_size) for t in model.target]
    assert targets == recipe['target']
    assert model.head.masked_only and model.head.loss_fn.criterion == recipe['criterion']
    mean = 255 * torch.tensor([0.485, 0.456, 0.406])
    std = 255 * torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(model.data_preprocessor.mean.flatten(), mean)
    torch.testing.assert_close(model.data_preprocessor.std.flatten(), std)


# -- Data ------------------------------------------------------------------------------------------


def check_crop(cfg, recipe, work_dir):
    """The crop is torchvision's, to a rounding, on an image that it has to shrink."""
    init_default_scope('simmim_mm')
    steps = [TRANSFORMS.build(step) for step in cfg.train_dataloader.dataset.pipeline]
    crop = next(s for s in steps if type(s).__name__ == 'RandomResizedCrop')
    assert tuple(crop.crop_ratio_range) == recipe['scale']
    assert tuple(crop.aspect_ratio_range) == (3 / 4, 4 / 3)
    flip = next(s for s in steps if type(s).__name__ == 'RandomFlip')
    assert flip.prob == 0.5

    image = np.random.default_rng(0).integers(0, 256, (700, 900, 3), dtype=np.uint8)
    np.random.seed(1)
    ours = crop(dict(img=image))['img']
    np.random.seed(1)
    top, left, height, width = crop.rand_crop_params(image)
    mode = getattr(F.InterpolationMode, recipe['interpolation'].upper())
    side = recipe['size']
    theirs = F.resized_crop(Image.fromarray(image), top, left, height, width, [side, side], mode)
    np.testing.assert_allclose(ours.astype(int), np.array(theirs, int), atol=1)


def check_mask(cfg, recipe, work_dir):
    init_default_scope('simmim_mm')
    crop, _, mask, _ = map(TRANSFORMS.build, cfg.train_dataloader.dataset.pipeline[1:])
    results = mask(crop(dict(img=np.zeros((500, 600, 3), np.uint8))))
    size, (side, masked) = recipe['size'], recipe['blocks']
    backbone = build_model(cfg).backbone
    stride = backbone.token_stride
    assert results['img'].shape == (size, size, 3)
    mask = torch.from_numpy(results['mask'])[None]
    grid = backbone.token_mask(mask, torch.empty(1, 3, size, size))[0].numpy()
    assert grid.shape == (size // stride, size // stride)
    per_block = grid.reshape(side, len(grid) // side, side, -1).mean((1, 3))
    assert set(np.unique(per_block)) == {0.0, 1.0}  # whole blocks
    assert per_block.sum() == masked


CHECKS = [check_curve, check_optimizer, check_model, check_crop, check_mask]


@pytest.mark.parametrize('check', CHECKS)
@pytest.mark.parametrize('name', RECIPES)
def test_recipe(name, check, tmp_path):
    check(load(name), RECIPES[name], tmp_path)


def change(*path, to):
    def apply(cfg):
        *parents, last = path
        for key in parents:
            cfg = cfg[key]
        cfg[last] = to

    return apply


PIPELINE = ('train_dataloader', 'dataset', 'pipeline')
CHANGES = [
    (check_curve, SWIN_100, change('optim_wrapper', 'optimizer', 'lr', to=2e-4)),
    (check_curve, SWIN_100, change('param_scheduler', 0, 'start_factor', to=0.01)),
    (check_curve, SWIN_100, change('param_scheduler', 0, 'end', to=20)),
    (check_curve, SWIN_100, change('param_scheduler', 0, 'type', to='LinearLR')),
    (check_curve, SWIN_100, change('param_scheduler', 1, 'type', to='CosineAnnealingLR')),
    (check_curve, SWIN_100, change('param_scheduler', 1, 'eta_min_ratio', to=0.0)),
    (check_curve, SWIN_800, change('param_scheduler', 1, 'begin', to=10)),
    (check_curve, SWIN_800, change('param_scheduler', 1, 'milestones', to=[710])),
    (check_curve, SWIN_800, change('param_scheduler', 1, 'gamma', to=0.5)),
    (check_curve, SWIN_800, change('train_cfg', 'max_epochs', to=300)),
    (check_optimizer, SWIN_100, change('optim_wrapper', 'optimizer', 'betas', to=(0.9, 0.95))),
    (check_optimizer, SWIN_100, change('optim_wrapper', 'optimizer', 'weight_decay', to=0.1)),
    (check_optimizer, SWIN_100, change('optim_wrapper', 'clip_grad', to=None)),
    (check_optimizer, SWIN_100, change('optim_wrapper', 'paramwise_cfg', to=None)),
    (
        check_optimizer,
        SWIN_100,
        change('optim_wrapper', 'paramwise_cfg', 'custom_keys', 'mask_token', to={}),
    ),
    (
        check_optimizer,
        SWIN_100,
        change(
            'optim_wrapper', 'paramwise_cfg', 'custom_keys', 'relative_position_bias_table', to={}
        ),
    ),
    (check_optimizer, SWIN_100, change('optim_wrapper', 'type', to='OptimWrapper')),
    (check_model, SWIN_100, change('model', 'backbone', 'drop_path_rate', to=0.1)),
    (check_model, SWIN_100, change('model', 'backbone', 'window_size', to=7)),
    (check_model, SWIN_100, change('model', 'head', 'loss', 'criterion', to='l2')),
    (check_model, SWIN_100, change('model', 'data_preprocessor', 'std', to=[58.0] * 3)),
    (check_model, SWIN_V2, change('model', 'target', to=[])),
    (check_crop, SWIN_100, change(*PIPELINE, 1, 'type', to='mmpretrain.RandomResizedCrop')),
    (check_crop, SWIN_100, change(*PIPELINE, 1, 'interpolation', to='bicubic')),
    (check_crop, SWIN_100, change(*PIPELINE, 1, 'crop_ratio_range', to=(0.2, 1.0))),
    (check_mask, SWIN_100, change(*PIPELINE, 3, 'mask_ratio', to=0.5)),
    (check_mask, SWIN_100, change(*PIPELINE, 3, 'mask_patch_size', to=16)),
    (check_curve, MAE.format(300), change('param_scheduler', 0, 'start_factor', to=1e-4)),
    (check_optimizer, MAE.format(300), change('optim_wrapper', 'clip_grad', to=dict(max_norm=5))),
]


@pytest.mark.parametrize('check, name, apply', CHANGES)
def test_a_changed_recipe_is_noticed(check, name, apply, tmp_path):
    cfg = load(name)
    apply(cfg)
    with pytest.raises(AssertionError):
        check(cfg, RECIPES[name], tmp_path)


def test_auto_scale_lr_scales_the_whole_curve(tmp_path):
    """Warm-up start and minimum are multiplied by batch / 512 too in the authors' code."""
    cfg = load(SWIN_100)
    full = rates(cfg, tmp_path)
    cfg.optim_wrapper.optimizer.lr /= 8  # what --auto-scale-lr does with a batch of 256
    assert rates(cfg, tmp_path) == pytest.approx([rate / 8 for rate in full], rel=1e-12)
