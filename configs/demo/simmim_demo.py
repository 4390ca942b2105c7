# Demo: SimMIM at 96 pixels with a small Swin, three to five minutes on two CPU cores (`make demo`).
#
# The method is that of the recipes in configs/simmim, but for what takes the place of masked
# patches: an interpolation of the visible pixels. A mask token learns slower from few photographs
# (docs/notes/demo.md). The crop and the color jitter make many different views of them.
_base_ = '../_base_/default_runtime.py'

data_root = 'work_dirs/demo/photos/train'
val_data_root = 'work_dirs/demo/photos/val'
img_size = 96
block = img_size // 6  # side of a masked block in pixels
max_iters = 1300
batch_size = 8
lr = 2e-3

model = dict(
    type='MaskedImageModel',
    data_preprocessor=dict(
        type='MIMDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]
    ),
    fill=dict(type='SmoothFill'),
    # Two stages: 128 channels for 8x8 pixels, so that colors pass through in detail.
    backbone=dict(
        type='MaskedSwin',
        arch=dict(embed_dims=64, depths=[2, 4], num_heads=[2, 4]),
        img_size=img_size,
        window_size=6,
        out_indices=(1,),
    ),
    neck=dict(type='PixelShuffleDecoder'),
    head=dict(type='PixelHead', loss=dict(type='MaskedPixelLoss', criterion='l1')),
)

load = dict(type='LoadImage')
mask = dict(type='RandomBlockMask', mask_patch_size=block, mask_ratio=0.6)
pack = dict(type='mmpretrain.PackInputs', algorithm_keys=['mask', 'nodata'])
train_pipeline = [
    load,
    dict(type='RandomResizedCrop', scale=img_size, crop_ratio_range=(0.2, 1.0)),
    dict(type='mmpretrain.RandomFlip', prob=0.5),
    # Without it the model memorizes the colors of these few photographs.
    dict(type='mmpretrain.ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.5),
    mask,
    pack,
]
val_pipeline = [
    load,
    dict(type='ResizeEdge', scale=img_size, edge='short'),
    dict(type='mmpretrain.CenterCrop', crop_size=img_size),
    mask,
    pack,
]
# The few files are repeated into one long epoch, with another crop and mask each time.
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=1,
    persistent_workers=True,
    collate_fn=dict(type='simmim_mm.stack_images'),
    sampler=dict(type='ReproducibleSampler', shuffle=True),
    dataset=dict(
        type='RepeatDataset',
        times=1000,
        dataset=dict(type='ImageDataset', data_root=data_root, pipeline=train_pipeline),
    ),
)
# Whole photographs that are not trained on, each under several masks.
val_dataloader = dict(
    batch_size=32,
    num_workers=0,
    sampler=dict(type='ReproducibleSampler', shuffle=False, fixed=True),
    dataset=dict(
        type='RepeatDataset',
        times=16,
        dataset=dict(type='ImageDataset', data_root=val_data_root, pipeline=val_pipeline),
    ),
)
val_cfg = dict()
val_evaluator = dict(type='MaskedLoss')

no_decay = dict(decay_mult=0.0)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='FusedAdamW', lr=lr, betas=(0.9, 0.95), weight_decay=0.05),
    clip_grad=dict(max_norm=5.0),
    paramwise_cfg=dict(
        flat_decay_mult=0.0,
        custom_keys=dict(mask_token=no_decay, relative_position_bias_table=no_decay),
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=50, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min_ratio=0.01, begin=50, end=max_iters, by_epoch=False),
]
train_cfg = dict(by_epoch=False, max_iters=max_iters, val_interval=max_iters // 3)

default_hooks = dict(checkpoint=dict(by_epoch=False, interval=max_iters // 3, max_keep_ckpts=1))
custom_hooks = [
    dict(hook, interval=max_iters // 6) if hook['type'] == 'ReconstructionHook' else hook
    for hook in _base_.custom_hooks
]
log_processor = dict(by_epoch=False)
