_base_ = [
    '../_base_/datasets/imagenet_simmim.py',
    '../_base_/models/simmim_vit-base.py',
    '../_base_/schedules/simmim_800e.py',
    '../_base_/default_runtime.py',
]

img_size = 224
crop = dict(_base_.crop, scale=img_size)
val_resize = dict(_base_.val_resize, size=img_size)
val_crop = dict(_base_.val_crop, crop_size=img_size)
mask = dict(_base_.mask, token_stride=16)

train_dataloader = dict(dataset=dict(pipeline=[_base_.load, crop, _base_.flip, mask, _base_.pack]))
val_dataloader = dict(dataset=dict(pipeline=[_base_.load, val_resize, val_crop, mask, _base_.pack]))
