# Fine-tune a ViT of 4M parameters on CIFAR-10.
#
# `python tools/dataset/cifar10_folders.py data/cifar10` writes the images in folders. The class of
# mmpretrain reads the original files, and downloads them where they are missing. To use it, write
# in both data sets `_delete_=True, type='CIFAR10', data_root='data/cifar10'`, the split ('train',
# 'test') and the pipeline without `load`. Its images are RGB: to_rgb=False.
_base_ = 'finetune_vit-micro-p8_1xb64-coslr-50e_folder-96px.py'

data_root = 'data/cifar10'
num_classes = 10
batch_size = 128
epochs = 100
crop = dict(type='RandomCrop', crop_size=32, padding=4)
train_pipeline = [_base_.load, crop, *_base_.train_pipeline[2:]]
val_pipeline = [_base_.load, _base_.pack]

model = dict(
    data_preprocessor=dict(
        num_classes=num_classes, mean=[125.3, 123.0, 113.9], std=[63.0, 62.1, 66.7]
    ),
    backbone=dict(img_size=32, patch_size=4),
    head=dict(num_classes=num_classes),
    train_cfg=dict(
        _delete_=True, augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]
    ),
)
train_dataloader = dict(
    batch_size=batch_size,
    drop_last=True,
    dataset=dict(data_root=data_root, pipeline=train_pipeline),
)
val_dataloader = test_dataloader = dict(
    dataset=dict(data_root=data_root, data_prefix='test', pipeline=val_pipeline)
)
val_evaluator = test_evaluator = dict(topk=(1, 5))
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.cosine, T_max=epochs, begin=5, end=epochs),
]
train_cfg = dict(max_epochs=epochs)
auto_scale_lr = dict(base_batch_size=batch_size)
