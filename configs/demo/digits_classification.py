# Demo: a short training of a classifier on the labeled digits of `make demo-transfer`.
_base_ = '../downstream/classification/finetune_vit-micro-p8_1xb64-coslr-50e_folder-96px.py'

data_root = 'work_dirs/demo_transfer/digits/labeled'
img_size = 24
num_classes = 10
max_iters = 400
shift = dict(type='RandomCrop', crop_size=img_size, padding=2, padding_mode='edge')

model = dict(
    data_preprocessor=dict(
        num_classes=num_classes, mean=[125.3, 123.0, 113.9], std=[63.0, 62.1, 66.7]
    ),
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512
        ),
        img_size=img_size,
        patch_size=4,
        drop_path_rate=0.0,
    ),
    head=dict(num_classes=num_classes),
)
train_dataloader = dict(
    batch_size=16,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(data_root=data_root, pipeline=[_base_.load, shift, _base_.pack]),
)
val_dataloader = dict(
    batch_size=250,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(data_root=data_root, pipeline=[_base_.load, _base_.pack]),
)
test_dataloader = val_dataloader
# The rate is the best of three from scratch, the same for all layers: from scratch, the first ones
# have most to learn.
optim_wrapper = dict(
    type='simmim_mm.AmpOptimWrapper',
    optimizer=dict(lr=5e-4),
    paramwise_cfg=dict(layer_decay_rate=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=40, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min_ratio=0.01, begin=40, end=max_iters, by_epoch=False),
]
train_cfg = dict(
    _delete_=True, type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters
)
default_hooks = dict(logger=dict(interval=100), checkpoint=dict(by_epoch=False, interval=max_iters))
log_processor = dict(by_epoch=False)
