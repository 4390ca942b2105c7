# Your own folders: see _base_/finetune_small.py.
_base_ = ['_base_/finetune_small.py', '_base_/backbones/swin-tiny-w6.py']

checkpoint = None  # of the pretraining; None: from scratch
pretrained = checkpoint and dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')
img_size = 192
crop = dict(_base_.crop, scale=img_size)
resize = dict(_base_.resize, scale=img_size * 256 // 224)
center = dict(_base_.center, crop_size=img_size)
train_pipeline = [
    _base_.load,
    crop,
    _base_.flip,
    _base_.rand_augment,
    _base_.erasing,
    _base_.pack,
]
val_pipeline = [_base_.load, resize, center, _base_.pack]

model = dict(
    backbone=dict(_base_.backbone, drop_path_rate=0.1, init_cfg=pretrained),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(in_channels=_base_.channels),
)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=val_pipeline))
