"""Detectors and segmenters: every config loads, builds and suits its data; the small ones learn."""

import re
import subprocess

import pytest
import torch
from config_files import FILES as PRETRAINING
from config_files import ROOT, _NoWeights, build_model, load, names
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, init_default_scope

from simmim_mm.checkpoint.load_backbone import load_backbone
from simmim_mm.experiments.shapes import write_shapes
from simmim_mm.registry import MODELS

pytest.importorskip('mmcv.ops', reason='mmdet needs the compiled operators of mmcv')
pytest.importorskip('mmdet')
pytest.importorskip('mmseg')

FILES = names('downstream/detection', 'downstream/segmentation')
SMALL = [name for name in FILES if name.endswith(('_coco-json.py', '_folder.py'))]
CPU = [name for name in SMALL if 'swin-tiny' not in name]
SIMMIM_COCO = 'downstream/detection/mask-rcnn_swin-base-w7_8xb4-amp-lsj-3x_coco.py'
VITDET = 'downstream/detection/mask-rcnn_vit-base-p16-sfp_8xb8-amp-lsj-100e_coco.py'
SIMMIM_ADE = 'downstream/segmentation/upernet_swin-base-w20_8xb4-amp-80k_ade20k-512px.py'


def registry(cfg):
    init_default_scope(cfg.default_scope)
    module = pytest.importorskip(f'{cfg.default_scope}.registry')
    return module.MODELS


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp('shapes') / 'data'
    write_shapes(folder, train=4, val=2, unlabeled=0, size=64)
    return folder


def test_there_are_configs():
    assert len(SMALL) >= 10 and len(FILES) >= 17


@pytest.mark.parametrize('name', FILES)
def test_loads_builds_and_survives_being_written_down(name):
    cfg = load(name)
    assert Config.fromstring(cfg.dump(), '.py').to_dict() == cfg.to_dict()
    models = registry(cfg)
    with _NoWeights():
        model = models.build(cfg.model)
    assert type(model.backbone).__module__.startswith('simmim_mm.models.backbones')
    assert model.backbone.init_cfg is None and 'init_cfg' not in cfg.model.backbone
    gpus, per_gpu = map(int, re.search(r'_(\d+)xb(\d+)', name).groups())
    assert cfg.train_dataloader.batch_size == per_gpu
    assert cfg.auto_scale_lr.base_batch_size == gpus * per_gpu
    assert (cfg.optim_wrapper.type == 'AmpOptimWrapper') == ('-amp-' in name)


def pretraining_of(name: str) -> Config:
    """The config in configs/{simmim,mae,convmae} of the same family and size."""
    kind, size, patch = re.search(r'_(swin|vit|convvit)-(\w+?)(-p\d+)?[-_]', name).groups()
    folder = dict(swin='simmim', vit='mae', convvit='convmae')[kind]
    wanted = f'_{kind}-{size}{patch or ""}[-_]'
    return load(next(f for f in PRETRAINING if f.startswith(folder) and re.search(wanted, f)))


# What detectors and segmenters have and pretraining has not: the norms of further maps.
NEW = re.compile(r'norm\d\.|fpn|norm\.')
RESIZED = ('relative_position_bias_table', 'relative_position_index', 'pos_embed')


@pytest.mark.parametrize('name', FILES)
def test_backbone_has_the_names_and_shapes_of_its_pretraining(name):
    cfg, source = load(name), pretraining_of(name)
    models = registry(cfg)
    with _NoWeights():
        own = models.build(cfg.model.backbone).state_dict()
    theirs = build_model(source).backbone.state_dict()
    missing = [key for key in own if key not in theirs]
    assert all(map(NEW.match, missing)), missing
    for key in own.keys() & theirs.keys():
        assert own[key].shape == theirs[key].shape or key.endswith(RESIZED), key
    assert not [key for key in theirs if key.startswith('stages.') and key not in own]


@pytest.mark.parametrize('name', CPU)
def test_a_checkpoint_of_the_pretraining_loads(name, tmp_path):
    """As `--pretrained` enters it, with all weights of the blocks as they were pretrained."""
    cfg, source = load(name), pretraining_of(name)
    init_default_scope('simmim_mm')
    pretrained = MODELS.build(source.model).state_dict()
    generator = torch.Generator().manual_seed(0)
    for tensor in pretrained.values():
        if tensor.is_floating_point():
            tensor.normal_(generator=generator)
    file = str(tmp_path / 'epoch_1.pth')
    torch.save(dict(state_dict=pretrained), file)

    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=file, prefix='backbone.')
    backbone = registry(cfg).build(cfg.model.backbone)
    backbone.init_weights()
    own = backbone.state_dict()
    for key, tensor in pretrained.items():
        key = key.removeprefix('backbone.')
        if '.norm1.' in key:  # of every block of every family
            assert torch.equal(own[key], tensor), key
    report = load_backbone(backbone, file, 'backbone.')
    assert all(map(NEW.match, set(report.missing) - {'mask_token'}))


@pytest.mark.parametrize('name', CPU)
def test_small_ones_learn_and_predict(name, shapes):
    """Some steps on one batch: the loss falls; then the validation pipeline gives predictions."""
    cfg = load(name)
    models = registry(cfg)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.data_root = str(shapes)
        for step in loader.dataset.pipeline:
            if 'scale' in step:
                step.scale = (96, 64)
            if 'crop_size' in step:
                step.crop_size = (64, 64)
    if cfg.default_scope == 'mmseg':
        cfg.model.data_preprocessor.size = (64, 64)
    torch.manual_seed(0)
    model = models.build(cfg.model)
    model.init_weights()
    model.train()
    train = DATASETS.build(cfg.train_dataloader.dataset)
    batch = pseudo_collate([train[0], train[1]])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(5):
        data = model.data_preprocessor(batch, True)
        loss, _ = model.parse_losses(model(**data, mode='loss'))
        optimizer.zero_grad()
        loss.backward()
        # or training on several processes would have to search for them
        assert not [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
        optimizer.step()
        losses.append(loss.item())
    assert all(0 < x < 100 for x in losses) and losses[-1] < losses[0]

    model.eval()
    sample = DATASETS.build(cfg.val_dataloader.dataset)[0]
    with torch.no_grad():
        (result,) = model.val_step(pseudo_collate([sample]))
    if cfg.default_scope == 'mmseg':
        assert result.pred_sem_seg.data.shape == (1, 64, 64)
    else:
        assert ('masks' in result.pred_instances) == name.startswith('downstream/detection/mask')


@pytest.mark.parametrize('name', [SIMMIM_COCO, SIMMIM_ADE])
def test_recipes_of_the_simmim_paper(name):
    """Appendix C.1."""
    cfg = load(name)
    optimizer = cfg.optim_wrapper.optimizer
    assert optimizer.type == 'AdamW' and optimizer.weight_decay == 0.05
    assert cfg.auto_scale_lr.base_batch_size == 32
    if name == SIMMIM_COCO:
        assert optimizer.lr == 6e-5
        data = cfg.train_dataloader.dataset
        assert cfg.train_cfg.max_epochs * data.times == 36
        resize, crop = data.dataset.pipeline[2:4]
        assert resize.scale == crop.crop_size == (1024, 1024)
        assert resize.ratio_range == (0.1, 2.0)
        assert cfg.model.backbone.window_size == 7
        large = load(name.replace('swin-base-w7', 'swin-large-w14'))
        assert large.model.backbone.window_size == 14
    else:
        assert 1e-4 <= optimizer.lr <= 3e-4
        assert cfg.optim_wrapper.paramwise_cfg.layer_decay_rate == 0.9
        assert cfg.train_cfg.max_iters == cfg.param_scheduler[-1].end == 80000
        assert cfg.crop_size == cfg.model.data_preprocessor.size == (512, 512)
        assert cfg.model.backbone.window_size == 20


def test_recipe_of_vitdet():
    """arXiv 2203.16527: 100 epochs of batches of 64, lr 1e-4, decay 0.1, layer decay 0.7."""
    cfg = load(VITDET)
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.weight_decay) == (1e-4, 0.1)
    assert cfg.optim_wrapper.paramwise_cfg.layer_decay_rate == 0.7
    assert cfg.train_cfg.max_epochs * cfg.train_dataloader.dataset.times == 100
    assert cfg.auto_scale_lr.base_batch_size == 64
    assert cfg.model.backbone.window_size == 14 and cfg.model.backbone.drop_path_rate == 0.1


ISOLATED = """
import sys
from mmengine.config import Config
from mmengine.registry import init_default_scope
cfg = Config.fromfile({path!r})
init_default_scope('mmdet')
from mmdet.registry import MODELS
model = MODELS.build(cfg.model)
assert type(model.neck).__name__ == 'SimpleFeaturePyramid'
print(*[name for name in sys.modules if name.startswith('simmim_mm')])
"""


def test_a_detector_is_built_without_the_pretraining_side(python):
    name = 'downstream/detection/mask-rcnn_vit-micro-p8-sfp_1xb4-coslr-36e_coco-json.py'
    code = ISOLATED.format(path=str(ROOT / name))
    result = subprocess.run([python, '-c', code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    modules = result.stdout.splitlines()[-1].split()
    assert 'simmim_mm.models.downstream' in modules
    side = ('algorithms', 'heads', 'losses', 'necks', 'targets')
    assert not {f'simmim_mm.models.{part}' for part in side}.intersection(modules)
    assert not {'simmim_mm.datasets', 'simmim_mm.engine'}.intersection(modules)
