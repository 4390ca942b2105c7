# Demo: the foreground branch on generated shapes, whose segmentation maps are known.
#
# docs/how-to/foreground.md explains it.
_base_ = '_base_/simmim_shapes.py'

data_root = 'data/shapes/images/train'
val_data_root = 'data/shapes/images/val'
foreground = dict(type='LoadForeground', folders=('images', 'semantic'))
foreground_weight = 0.1
max_iters = 600
lr = 1e-3

pack = dict(type='PackInputs', algorithm_keys=['mask', 'foreground', 'nodata'])
crop, flip, jitter, mask = _base_.train_pipeline[1:5]
resize = _base_.val_pipeline[1]
# mmcv's, which crops the map too
center = dict(type='CenterCrop', crop_size=(_base_.img_size, _base_.img_size))

model = dict(
    foreground=dict(
        type='ForegroundBranch',
        neck=dict(type='PixelShuffleDecoder'),
        loss_weight=foreground_weight,
    )
)
train_dataloader = dict(
    dataset=dict(
        times=100,
        dataset=dict(
            data_root=data_root,
            pipeline=[_base_.load, foreground, crop, flip, jitter, mask, pack],
        ),
    )
)
val_dataloader = dict(
    dataset=dict(
        times=1,
        dataset=dict(
            data_root=val_data_root,
            pipeline=[_base_.load, foreground, resize, center, mask, pack],
        ),
    )
)
val_evaluator = [dict(type='MaskedLoss'), dict(type='ForegroundIoU')]
optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=50, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min_ratio=0.01, begin=50, end=max_iters, by_epoch=False),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters // 3)
default_hooks = dict(checkpoint=dict(interval=max_iters))
