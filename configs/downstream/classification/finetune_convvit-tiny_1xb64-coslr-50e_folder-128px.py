# Fine-tune a small ConvMAE encoder on your own class folders, at 128 pixels without a GPU.
_base_ = '_base_/finetune_folder.py'

img_size = 128
crop = dict(_base_.crop, scale=img_size)
resize = dict(_base_.resize, scale=img_size * 256 // 224)
center = dict(_base_.center, crop_size=img_size)
train_pipeline = [_base_.load, crop, *_base_.train_pipeline[2:]]
val_pipeline = [_base_.load, resize, center, _base_.pack]

model = dict(
    backbone=dict(
        type='simmim_mm.MaskedConvViT',
        arch='tiny',
        img_size=img_size,
        fusion=False,  # layers that only the pretraining uses
        drop_path_rate=0.1,
        frozen_pos_embed=False,
        final_norm=False,
    ),
    neck=dict(type='simmim_mm.AveragePool', norm='layer'),
)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=val_pipeline))
