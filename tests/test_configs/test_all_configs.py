"""Every config loads, builds, says the truth in its name, and its data suit its model."""

import re

import numpy as np
import pytest
import torch
import yaml
from config_files import FILES, RENAMED, ROOT, build_model, image_side, load, names
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope
from PIL import Image

from simmim_mm.engine.launch import complete_validation
from simmim_mm.registry import MODELS

SMALL = [name for name in FILES if '_folder-' in name]
PIXMIM = [name for name in FILES if name.startswith('pixmim/')]


@pytest.fixture(scope='module')
def image_file(tmp_path_factory):
    path = tmp_path_factory.mktemp('images') / 'noise.png'
    pixels = np.random.default_rng(0).integers(0, 256, (500, 620, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return str(path)


def samples(cfg, image_file):
    """What the training and the validation pipeline make of an image."""
    init_default_scope('simmim_mm')
    loaders = [cfg.train_dataloader, cfg.get('val_dataloader')]
    return [Compose(dl.dataset.pipeline)(dict(img_path=image_file)) for dl in loaders if dl]


def test_there_are_configs():
    assert len(FILES) > 20


@pytest.mark.parametrize('name', PIXMIM)  # the most composed ones
def test_survives_being_written_into_a_checkpoint(name):
    cfg = load(name)
    again = Config.fromstring(cfg.dump(), '.py')
    assert again.to_dict() == cfg.to_dict()


@pytest.mark.parametrize('name', [*FILES, *names('distill')])
def test_name_tells_the_truth(name):
    cfg = load(name)
    gpus, per_gpu = map(int, re.search(r'_(\d+)xb(\d+)', name).groups())
    assert cfg.train_dataloader.batch_size == per_gpu
    assert cfg.auto_scale_lr.base_batch_size == gpus * per_gpu
    epochs = int(re.search(r'-(\d+)e_', name)[1])
    assert cfg.train_cfg.max_epochs == epochs
    assert all(s.get('end', epochs) in (10, 40, epochs) for s in cfg.param_scheduler)
    assert (cfg.optim_wrapper.type == 'AmpOptimWrapper') == ('-amp-' in name)
    size = re.search(r'-(\d+)px', name)
    assert image_side(cfg) == (int(size[1]) if size else 224)


@pytest.mark.parametrize('name', FILES)
def test_builds_and_suits_its_data(name, image_file):
    cfg = load(name)
    model = build_model(cfg)
    side = image_side(cfg)
    grid = side // model.backbone.token_stride
    for sample in samples(cfg, image_file):
        assert sample['inputs'].shape == (3, side, side)
        mask = model.stack_masks([sample['data_samples']], sample['inputs'][None])[0]
        assert mask.shape == (grid, grid) and mask.dtype == torch.bool


@pytest.mark.parametrize('name', SMALL)
def test_small_ones_give_a_loss_and_gradients(name, image_file):
    cfg = load(name)
    (sample,) = samples(cfg, image_file)
    model = MODELS.build(cfg.model)
    model.init_weights()
    data = model.data_preprocessor(pseudo_collate([sample, sample]))
    losses = model(**data, mode='loss')
    loss, _ = model.parse_losses(losses)
    loss.backward()
    assert 0.1 < loss.item() < 10
    for key, param in model.named_parameters():
        if param.requires_grad:
            assert param.grad is not None, (
                f'{key} takes no part: DistributedDataParallel would stop'
            )
            assert param.grad.isfinite().all(), key


@pytest.mark.parametrize('name', PIXMIM)
def test_pixmim_changes_the_target_and_the_crop_and_nothing_else(name):
    pixmim = load(name)
    method, rest = re.fullmatch(r'pixmim/pixmim_([a-z]+)_(.*)', name).groups()
    plain = load(f'{method}/{method}_{rest}')
    low_pass, *target = pixmim.model.pop('target')
    assert low_pass == dict(type='LowFreq', radius_ratio=40 / 112, mode='reference')
    assert target == plain.model.pop('target', [])
    crop = pixmim.train_dataloader.dataset.pipeline.pop(1)
    assert crop == dict(type='SimpleResizedCrop', size=image_side(plain))
    plain.train_dataloader.dataset.pipeline.pop(1)
    for key in ('model', 'train_dataloader', 'optim_wrapper', 'param_scheduler', 'train_cfg'):
        assert pixmim[key] == plain[key], key


def test_model_index_lists_every_recipe_of_the_papers():
    index = yaml.safe_load((ROOT.parent / 'model-index.yml').read_text())
    collections = {c['Name'] for c in index['Collections']}
    listed = {model['Config'].removeprefix('configs/') for model in index['Models']}
    assert listed == {name for name in FILES if '_in1k' in name and name not in RENAMED}
    assert {model['In Collection'] for model in index['Models']} == collections
    assert all((ROOT.parent / c['README']).is_file() for c in index['Collections'])


LINES = """
_base_ = {base!r}
val_dataloader = dict(dataset=dict(data_root='/my/held-out'))
default_hooks = dict(checkpoint=dict(save_best='masked_loss/loss', rule='less'))
custom_hooks = [*_base_.custom_hooks, dict(type='EarlyStoppingHook', monitor='masked_loss/loss')]
optim_wrapper = dict(accumulative_counts=4)
"""


@pytest.mark.parametrize('name', [name for name in SMALL if (ROOT / name).is_file()])
def test_held_out_images_best_and_early_end_are_a_line_each(name, tmp_path, image_file):
    child = tmp_path / 'child.py'
    child.write_text(LINES.format(base=str(ROOT / name)))
    cfg = load(str(child))
    complete_validation(cfg)
    train, val = samples(cfg, image_file)
    assert val['inputs'].shape == train['inputs'].shape
    assert val['data_samples'].mask.shape == train['data_samples'].mask.shape
    assert cfg.default_hooks.checkpoint.save_best and cfg.optim_wrapper.accumulative_counts == 4
    assert cfg.custom_hooks[0].type == 'ReproducibilityHook'
