# Demo: a short training of a classifier on the labeled textures of `make demo-transfer`.
_base_ = 'mmpretrain::_base_/default_runtime.py'

data_root = 'work_dirs/demo_transfer/textures'
num_classes = 8
max_iters = 150
warmup_iters = 20
custom_imports = dict(imports=['simmim_mm'], allow_failed_imports=False)

model = dict(
    type='simmim_mm.Classifier',
    data_preprocessor=dict(num_classes=num_classes, mean=[127.0] * 3, std=[50.0] * 3),
    # that of textures_pretrain.py
    backbone=dict(
        type='simmim_mm.MaskedViT',
        arch=dict(embed_dims=128, num_layers=6, num_heads=4, feedforward_channels=256),
        img_size=32,
        patch_size=4,
        frozen_pos_embed=False,
        out_type='avg_featmap',
    ),
    neck=None,
    head=dict(
        type='LinearClsHead',
        in_channels=128,
        num_classes=num_classes,
        loss=dict(type='CrossEntropyLoss'),
        topk=(1,),
    ),
)
load = dict(type='simmim_mm.LoadImage')
pack = dict(type='PackInputs')
train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='CustomDataset',
        data_root=data_root,
        data_prefix='train',
        pipeline=[
            load,
            dict(type='RandomResizedCrop', scale=32, crop_ratio_range=(0.5, 1.0)),
            dict(type='RandomFlip', prob=0.5),
            pack,
        ],
    ),
)
val_dataloader = dict(
    batch_size=100,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CustomDataset', data_root=data_root, data_prefix='val', pipeline=[load, pack]
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
    dict(type='LinearLR', start_factor=0.01, end=warmup_iters, by_epoch=False),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.01,
        begin=warmup_iters,
        end=max_iters,
        by_epoch=False,
    ),
]
train_cfg = dict(by_epoch=False, max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(logger=dict(interval=50), checkpoint=dict(by_epoch=False, interval=max_iters))
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
