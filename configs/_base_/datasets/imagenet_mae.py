# The data of MAE: a wide random crop, flip, single patches masked.
_base_ = 'imagenet_simmim.py'

img_size = 224
crop = dict(_base_.crop, scale=img_size, crop_ratio_range=(0.2, 1.0), interpolation='bicubic')
val_resize = dict(_base_.val_resize, size=img_size, interpolation='bicubic')
val_crop = dict(_base_.val_crop, crop_size=img_size)
mask = dict(type='RandomBlockMask', mask_patch_size=16, mask_ratio=0.75, rounding='floor_visible')

train_dataloader = dict(
    batch_size=512,
    dataset=dict(pipeline=[_base_.load, crop, _base_.flip, mask, _base_.pack]),
)
val_dataloader = dict(dataset=dict(pipeline=[_base_.load, val_resize, val_crop, mask, _base_.pack]))
