# MAE, a ViT of 4M parameters at 96 pixels, on a folder of your own images without a GPU.
_base_ = [
    '../_base_/datasets/folder.py',
    '../_base_/models/mae_vit-base.py',
    '../_base_/schedules/mae_300e.py',
    '../_base_/default_runtime.py',
]

img_size = 96
patch_size = 8
lr = 5e-4
crop = dict(_base_.crop, scale=img_size, crop_ratio_range=(0.2, 1.0), interpolation='bicubic')
mask = dict(
    type='RandomBlockMask', mask_patch_size=patch_size, mask_ratio=0.75, rounding='floor_visible'
)

model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=192, num_layers=8, num_heads=6, feedforward_channels=768
        ),
        img_size=img_size,
        patch_size=patch_size,
    ),
    neck=dict(decoder_embed_dim=128, decoder_depth=2, decoder_num_heads=4),
)
train_dataloader = dict(dataset=dict(pipeline=[_base_.load, crop, _base_.flip, mask, _base_.pack]))
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(lr=lr))
param_scheduler = [dict(_base_.warmup, end=10), dict(_base_.cosine, begin=10)]
auto_scale_lr = dict(base_batch_size=64)
default_hooks = dict(checkpoint=dict(interval=10))  # epochs of a folder are short
