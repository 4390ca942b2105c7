# Demo: a short training of a classifier on the single shapes of `simmim make-shapes`.
_base_ = 'mmpretrain::_base_/default_runtime.py'

data_root = 'data/shapes/classification'
num_classes = 4
max_iters = 250
custom_imports = dict(imports=['simmim_mm'], allow_failed_imports=False)

model = dict(
    type='simmim_mm.Classifier',
    data_preprocessor=dict(
        num_classes=num_classes, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]
    ),
    # the three stages that transfer_pretrain.py trains
    backbone=dict(
        type='simmim_mm.MaskedSwin',
        arch=dict(embed_dims=48, depths=[2, 2, 4], num_heads=[2, 4, 8]),
        img_size=96,
        window_size=6,
        pad_small_map=True,
        out_indices=(2,),
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=num_classes,
        loss=dict(type='CrossEntropyLoss'),
        topk=(1,),
    ),
)
load = dict(type='LoadImageFromFile')
pack = dict(type='PackInputs')
train_dataloader = dict(
    batch_size=16,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='CustomDataset',
        data_root=data_root,
        data_prefix='train',
        pipeline=[load, dict(type='RandomFlip', prob=0.5), pack],
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CustomDataset',
        data_root=data_root,
        data_prefix='val',
        pipeline=[load, dict(type='Resize', scale=96), pack],
    ),
)
val_evaluator = dict(type='Accuracy', topk=1)
val_cfg = dict()
test_dataloader = val_dataloader
test_evaluator = val_evaluator
test_cfg = dict()

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=5.0),
    paramwise_cfg=dict(flat_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=20, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min_ratio=0.01, begin=20, end=max_iters, by_epoch=False),
]
train_cfg = dict(by_epoch=False, max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(by_epoch=False, interval=max_iters))
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
