# CIFAR-10 in folders, as `python tools/dataset/cifar10_folders.py data/cifar10` writes them.
#
# mmpretrain's own class reads the original files, and downloads them where they are missing. For
# it, write in both data sets `_delete_=True, type='CIFAR10', data_root='data/cifar10'`, the split
# ('train', 'test') and the pipeline without `load`. Its images are RGB: to_rgb=False.
_base_ = 'finetune_simmim.py'

data_root = 'data/cifar10'
num_classes = 10
batch_size = 128
num_workers = 2
epochs = 100
lr = 1e-3
crop = dict(type='RandomCrop', crop_size=32, padding=4)
pixels = dict(mean=[125.3, 123.0, 113.9], std=[63.0, 62.1, 66.7])
train_pipeline = [
    _base_.load,
    crop,
    _base_.flip,
    _base_.rand_augment,
    _base_.erasing,
    _base_.pack,
]
val_pipeline = [_base_.load, _base_.pack]

model = dict(
    data_preprocessor=dict(num_classes=num_classes, **pixels), head=dict(num_classes=num_classes)
)
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    dataset=dict(data_root=data_root, pipeline=train_pipeline),
)
val_dataloader = dict(
    num_workers=num_workers,
    dataset=dict(data_root=data_root, data_prefix='test', pipeline=val_pipeline),
)
test_dataloader = val_dataloader
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(lr=lr), paramwise_cfg=dict(layer_decay_rate=0.75)
)
param_scheduler = [
    dict(_base_.warmup, end=5),
    dict(_base_.cosine, T_max=epochs, begin=5, end=epochs),
]
train_cfg = dict(max_epochs=epochs)
auto_scale_lr = dict(base_batch_size=batch_size)
