# Fine-tune Swin-T on your own class folders, at 192 pixels on one GPU.
_base_ = ['_base_/finetune_folder.py', '../_base_/backbones/swin-tiny.py']

img_size = 192
crop = dict(_base_.crop, scale=img_size)
resize = dict(_base_.resize, scale=img_size * 256 // 224)
center = dict(_base_.center, crop_size=img_size)
train_pipeline = [_base_.load, crop, *_base_.train_pipeline[2:]]
val_pipeline = [_base_.load, resize, center, _base_.pack]

model = dict(
    backbone=dict(_base_.backbone, drop_path_rate=0.1),
    neck=dict(type='GlobalAveragePooling'),
)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=val_pipeline))
