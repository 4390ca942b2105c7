# Attentive probe on your own folders: see _base_/finetune_small.py.
_base_ = ['_base_/attentive_small.py', '_base_/backbones/vit-micro-p8.py']

checkpoint = None  # of the pretraining; None: from scratch
pretrained = checkpoint and dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')
img_size = 96
crop = dict(_base_.crop, scale=img_size)
resize = dict(_base_.resize, scale=img_size * 256 // 224)
center = dict(_base_.center, crop_size=img_size)
train_pipeline = [_base_.load, crop, _base_.flip, _base_.pack]
val_pipeline = [_base_.load, resize, center, _base_.pack]

model = dict(
    backbone=dict(_base_.backbone, init_cfg=pretrained),
    neck=dict(in_channels=_base_.channels),
    head=dict(in_channels=_base_.channels),
)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=val_pipeline))
