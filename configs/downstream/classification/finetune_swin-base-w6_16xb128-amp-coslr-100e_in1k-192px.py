# Fine-tune Swin-B of SimMIM on ImageNet-1k at 192 pixels, after 100 epochs of pretraining.
_base_ = ['_base_/finetune_simmim.py', '../_base_/backbones/swin-base.py']

img_size = 192
crop = dict(_base_.crop, scale=img_size)
resize = dict(_base_.resize, scale=img_size * 256 // 224)
center = dict(_base_.center, crop_size=img_size)
train_pipeline = [_base_.load, crop, *_base_.train_pipeline[2:]]
val_pipeline = [_base_.load, resize, center, _base_.pack]

model = dict(
    backbone=dict(_base_.backbone, img_size=img_size, window_size=6, drop_path_rate=0.1),
    neck=dict(type='GlobalAveragePooling'),
)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=val_pipeline))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.9))
