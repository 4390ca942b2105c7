"""mmdet's and mmseg's own train loops, from an exported file and without this package."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import export_toys as toys

from simmim_mm.experiments.shapes import write_shapes
from simmim_mm.interop import export_backbone, read_source, write_export
from simmim_mm.interop.libraries import snippet

# What a user's script would be; BACKBONE stands for the printed lines.
DETECTION = """
import mmdet
from mmengine.config import Config
from mmengine.runner import Runner
from mmdet.utils import register_all_modules

register_all_modules()
open('config.py', 'w').write('''
_base_ = ['mmdet::_base_/models/faster-rcnn_r50_fpn.py', 'mmdet::_base_/default_runtime.py']
model = dict(
    backbone=dict(_delete_=True, **BACKBONE),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=16),
    rpn_head=dict(in_channels=16, feat_channels=16),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=16),
        bbox_head=dict(in_channels=16, fc_out_channels=16, num_classes=4)))
train_dataloader = dict(
    batch_size=2, num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CocoDataset',
        data_root='shapes',
        ann_file='annotations/instances_train.json',
        data_prefix=dict(img='images/train/'),
        metainfo=dict(classes=('circle', 'square', 'triangle', 'star')),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='PackDetInputs')]))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=2)
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-4))
work_dir = 'work'
default_hooks = dict(checkpoint=None)
log_processor = dict(by_epoch=False)
''')
"""
SEGMENTATION = """
import mmseg
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.utils import register_all_modules

register_all_modules()
base = mmseg.__path__[0] + '/.mim/configs/_base_/'
open('config.py', 'w').write('''
_base_ = [%r + name for name in ('models/upernet_swin.py', 'default_runtime.py')]
norm_cfg = dict(type='BN')
model = dict(
    data_preprocessor=dict(size=(64, 64)),
    backbone=dict(_delete_=True, **BACKBONE),
    decode_head=dict(in_channels=[8, 16, 32, 64], channels=16, num_classes=5, norm_cfg=norm_cfg),
    auxiliary_head=dict(in_channels=32, channels=16, num_classes=5, norm_cfg=norm_cfg))
train_dataloader = dict(
    batch_size=2, num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='BaseSegDataset',
        data_root='shapes',
        img_suffix='.png',
        data_prefix=dict(img_path='images/train', seg_map_path='semantic/train'),
        metainfo=dict(classes=('ground', 'circle', 'square', 'triangle', 'star')),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(type='PackSegInputs')]))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=2)
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-4))
work_dir = 'work'
default_hooks = dict(checkpoint=None)
log_processor = dict(by_epoch=False)
''' % base)
"""
TRAIN = """
import sys
import torch
from mmengine.hooks import Hook

exported = torch.load('exported.pth', weights_only=True)['state_dict']
exported = {name.removeprefix('backbone.'): tensor for name, tensor in exported.items()}

class Loaded(Hook):
    def before_train(self, runner):
        own = runner.model.backbone.state_dict()
        self.names = [name for name in exported if torch.equal(own[name], exported[name])]

runner = Runner.from_cfg(Config.fromfile('config.py'))
loaded = Loaded()
runner.register_hook(loaded)
model = runner.train()
assert len(loaded.names) == len(exported) > 50
own = model.backbone.state_dict()
assert any(not torch.equal(own[name], tensor) for name, tensor in exported.items())
assert all(torch.isfinite(p).all() for p in model.parameters())
assert runner.iter == 2
foreign = [name for name in sys.modules if name.split('.')[0] == 'simmim_mm']
assert not foreign, foreign
print('trained without', len(foreign))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ('target', 'script'), [('mmdet', DETECTION), ('mmseg', SEGMENTATION)], ids=['mmdet', 'mmseg']
)
def test_train_loop_without_this_package(target, script, tmp_path, python):
    pytest.importorskip('mmcv.ops', exc_type=ImportError)
    pytest.importorskip(target, exc_type=ImportError)
    write_shapes(tmp_path / 'shapes', train=2, val=1, unlabeled=0, size=64)
    source = read_source(toys.save(tmp_path / 'run.pth', 'MaskedSwin'))
    export = export_backbone(source, target, window=7)  # another than pretraining's
    write_export(export, tmp_path / 'exported.pth')
    printed = snippet(export, Path('exported.pth')).removeprefix('backbone=')
    script = script.replace('BACKBONE', printed) + TRAIN
    result = subprocess.run(
        [python, '-c', script],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': ''},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert 'trained without 0' in result.stdout
