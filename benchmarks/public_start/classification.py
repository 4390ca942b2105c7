# CIFAR-10 in folders, enlarged to 64 pixels.
_base_ = [
    '../../configs/downstream/classification/finetune_swin-micro-w6_1xb64-coslr-50e_folder-96px.py',
    'backbone.py',
]

data_root = 'data/cifar10'
num_classes = 10
img_size = 64
crop = dict(_base_.crop, scale=img_size, crop_ratio_range=(0.35, 1.0))
train_pipeline = [_base_.load, crop, _base_.flip, _base_.pack]
val_pipeline = [_base_.load, dict(_base_.resize, scale=img_size), _base_.pack]
model = dict(
    data_preprocessor=dict(num_classes=num_classes, **_base_.pixels),
    backbone=dict(_base_.lite0, _delete_=True),
    head=dict(num_classes=num_classes, in_channels=_base_.channels[-1]),
)
train_dataloader = dict(batch_size=20, dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(data_root=data_root, pipeline=val_pipeline))
optim_wrapper = _base_.optimization
