# Demo: a short training of UPerNet on the segmentation maps of `simmim make-shapes`.
_base_ = [
    '../downstream/segmentation/upernet_swin-micro-w6_1xb4-coslr-4k_folder.py',
    '_base_/three_stages.py',
]

data_root = 'data/shapes'
max_iters = 500
size = (96, 96)
class_weight = [0.2, 1, 1, 1, 1]  # otherwise so short a training finds the background only

test_pipeline = [
    _base_.load,
    dict(type='Resize', scale=size, keep_ratio=True),
    _base_.annotations,
    _base_.pack,
]
model = dict(
    data_preprocessor=dict(size=size),
    backbone=_base_.three_stages,
    decode_head=dict(
        _base_.three_maps,
        in_index=[0, 1, 2],
        channels=64,
        loss_decode=dict(class_weight=class_weight),
    ),
    auxiliary_head=dict(loss_decode=dict(class_weight=class_weight)),
)
train_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        data_root=data_root,
        pipeline=[
            _base_.load,
            _base_.annotations,
            dict(type='RandomFlip', prob=0.5),
            _base_.pack,
        ],
    ),
)
val_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(data_root=data_root, pipeline=test_pipeline),
)
test_dataloader = val_dataloader

# The same rate for all layers: from scratch, the first layers have most to learn.
optim_wrapper = dict(
    optimizer=dict(lr=1e-3),
    constructor='DefaultOptimWrapperConstructor',
    paramwise_cfg=dict(_delete_=True, flat_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=20, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min_ratio=0.01, begin=20, end=max_iters, by_epoch=False),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(checkpoint=dict(interval=max_iters))
