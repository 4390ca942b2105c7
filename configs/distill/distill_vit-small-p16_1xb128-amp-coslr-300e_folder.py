# MAE with a frozen teacher, ViT-S/16 at 224 pixels, on a folder of your own images and one GPU.
#
#   simmim distill TEACHER /my/images --student vit-small
_base_ = [
    '../_base_/datasets/folder.py',
    '../_base_/models/mae_vit-base.py',
    '../_base_/schedules/mae_300e.py',
    '../_base_/default_runtime.py',
    '../_base_/teacher.py',
]

img_size = 224
patch_size = 16
lr = 5e-4
crop = dict(_base_.crop, scale=img_size, crop_ratio_range=(0.2, 1.0), interpolation='bicubic')
mask = dict(
    type='RandomBlockMask', mask_patch_size=patch_size, mask_ratio=0.75, rounding='floor_visible'
)

model = dict(
    backbone=dict(arch='deit-small'),
    neck=dict(decoder_embed_dim=256, decoder_depth=4, decoder_num_heads=8),
    teacher=_base_.teacher,
)
train_dataloader = dict(
    batch_size=128, dataset=dict(pipeline=[_base_.load, crop, _base_.flip, mask, _base_.pack])
)
optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = [dict(_base_.warmup, end=10), dict(_base_.cosine, begin=10)]
auto_scale_lr = dict(base_batch_size=128)
default_hooks = dict(checkpoint=dict(interval=10))  # epochs of a folder are short
