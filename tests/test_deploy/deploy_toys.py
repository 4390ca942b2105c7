"""Checkpoints of tiny models, as training writes them."""

from importlib import import_module
from pathlib import Path
from typing import Any

import mmengine.registry as root
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from simmim_mm.registry import MODELS

SWIN = dict(arch=dict(embed_dims=8, depths=[1, 2], num_heads=[1, 2]), img_size=32, window_size=4)
VIT = dict(embed_dims=16, num_layers=1, num_heads=2, feedforward_channels=32)
# By class: arguments of a backbone.
BACKBONES: dict[str, dict] = dict(
    MaskedSwin=dict(SWIN, out_indices=(0, 1)),
    MaskedViT=dict(arch=VIT, img_size=32, patch_size=8),
    MaskedBEiT=dict(arch=VIT, img_size=32, patch_size=8),
    MaskedResNet=dict(
        depth=18,
        base_channels=8,
        stem_channels=8,
        num_stages=2,
        strides=(1, 2),
        dilations=(1, 1),
        out_indices=(0, 1),
    ),
)
STATISTICS = dict(mean=[120.0, 110.0, 100.0], std=[60.0, 50.0, 40.0])


def pretraining(backbone: str = 'MaskedSwin', **changes: Any) -> dict:
    """Config of a pretraining of a tiny backbone on images of 32 pixels."""
    load = [dict(type='LoadImage'), dict(type='RandomResizedCrop', scale=32)]
    mask = dict(type='RandomBlockMask', mask_patch_size=8, mask_ratio=0.5)
    pipeline = [*load, mask, dict(type='mmpretrain.PackInputs', algorithm_keys=['mask'])]
    return dict(
        default_scope='simmim_mm',
        model=dict(
            type='MaskedImageModel',
            backbone={'type': backbone, **BACKBONES[backbone], **changes},
            neck=dict(type='PixelShuffleDecoder'),
            head=dict(type='PixelHead', loss=dict(type='MaskedPixelLoss', criterion='l1')),
            target=[dict(type='NormPix')],
            data_preprocessor=dict(type='MIMDataPreprocessor', **STATISTICS),
        ),
        train_dataloader=dict(dataset=dict(type='ImageDataset', pipeline=pipeline)),
    )


def classifier(backbone: dict | None = None, **head: Any) -> dict:
    """Config of a classifier of three classes, of images of 32 pixels."""
    backbone = backbone or {'type': 'simmim_mm.MaskedViT', **BACKBONES['MaskedViT']}
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='ResizeEdge', scale=36),
        dict(type='CenterCrop', crop_size=32),
        dict(type='PackInputs'),
    ]
    head = {'type': 'LinearClsHead', 'num_classes': 3, 'in_channels': 16, **head}
    return dict(
        default_scope='mmpretrain',
        model=dict(
            type='ImageClassifier',
            backbone=backbone,
            neck=dict(type='GlobalAveragePooling'),
            head=head,
            train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8)]),
            data_preprocessor=dict(type='ClsDataPreprocessor', to_rgb=True, **STATISTICS),
        ),
        val_dataloader=dict(dataset=dict(type='CustomDataset', pipeline=pipeline)),
    )


def segmenter() -> dict:
    """Config of a UPerNet of four classes, trained on crops of 64 pixels."""
    head = dict(norm_cfg=dict(type='BN'), num_classes=4, align_corners=False, in_index=[0, 1])
    crop = dict(type='RandomCrop', crop_size=(64, 64))
    load, labels = dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')
    resize, pack = dict(type='Resize', scale=(96, 64), keep_ratio=True), dict(type='PackSegInputs')
    padding = dict(bgr_to_rgb=True, test_cfg=dict(size_divisor=32))
    return dict(
        default_scope='mmseg',
        model=dict(
            type='EncoderDecoder',
            backbone=dict(BACKBONES['MaskedSwin'], type='simmim_mm.MaskedSwin', pad_small_map=True),
            decode_head=dict(
                head, type='UPerHead', in_channels=[8, 16], channels=8, pool_scales=(1, 2)
            ),
            test_cfg=dict(mode='whole'),
            data_preprocessor=dict(type='SegDataPreProcessor', **padding, **STATISTICS),
        ),
        train_dataloader=dict(
            dataset=dict(type='BaseSegDataset', pipeline=[load, labels, crop, pack])
        ),
        val_dataloader=dict(
            dataset=dict(type='BaseSegDataset', pipeline=[load, resize, labels, pack])
        ),
    )


def build(config: dict, seed: int = 0) -> Any:
    """The model, with weights at random of a size that every one of them matters."""
    config = Config(config)
    torch.manual_seed(seed)
    import_module(f'{config.default_scope}.models')
    with DefaultScope.overwrite_default_scope(config.default_scope):
        own = config.default_scope == 'simmim_mm'
        model = (MODELS if own else root.MODELS).build(config.model)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim > 1 and 'logit_scale' not in name:
                p.normal_(std=0.2)
        for name, buffer in model.named_buffers():
            if name.endswith('running_var'):
                buffer.uniform_(0.5, 2.0)
    return model.eval()


def save(path: Path, config: dict, classes: tuple[str, ...] = ()) -> Path:
    """A checkpoint as training writes it."""
    meta = dict(cfg=Config(config).pretty_text, dataset_meta=dict(classes=classes))
    torch.save(dict(meta=meta, state_dict=build(config).state_dict()), path)
    return path


def retinanet() -> dict:
    """Config of a RetinaNet of three classes, trained on images of 64 pixels."""
    anchors = dict(type='AnchorGenerator', ratios=[0.5, 1.0], scales=[2], strides=[8, 16])
    return dict(
        default_scope='mmdet',
        model=dict(
            type='RetinaNet',
            backbone=dict(BACKBONES['MaskedResNet'], type='simmim_mm.MaskedResNet'),
            neck=dict(type='FPN', in_channels=[8, 16], out_channels=8, num_outs=2),
            bbox_head=dict(
                type='RetinaHead',
                num_classes=3,
                in_channels=8,
                feat_channels=8,
                stacked_convs=1,
                anchor_generator=dict(anchors, strides=[4, 8]),
            ),
            test_cfg=dict(
                nms_pre=10000,
                score_thr=0.3,
                nms=dict(type='nms', iou_threshold=0.5),
                max_per_img=50,
            ),
            data_preprocessor=dict(type='DetDataPreprocessor', bgr_to_rgb=True, **STATISTICS),
        ),
        train_dataloader=dict(
            dataset=dict(pipeline=[dict(type='Resize', scale=(96, 64), keep_ratio=True)])
        ),
    )
