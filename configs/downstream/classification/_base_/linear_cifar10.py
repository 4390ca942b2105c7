# A linear probe on CIFAR-10 in folders; see finetune_cifar10.py.
_base_ = 'linear_small.py'

data_root = 'data/cifar10'
num_classes = 10
batch_size = 128
crop = dict(type='RandomCrop', crop_size=32, padding=4)
pixels = dict(mean=[125.3, 123.0, 113.9], std=[63.0, 62.1, 66.7])

model = dict(
    data_preprocessor=dict(num_classes=num_classes, **pixels), head=dict(num_classes=num_classes)
)
train_dataloader = dict(
    batch_size=batch_size,
    dataset=dict(data_root=data_root, pipeline=[_base_.load, crop, _base_.flip, _base_.pack]),
)
val_dataloader = dict(
    dataset=dict(data_root=data_root, data_prefix='test', pipeline=[_base_.load, _base_.pack])
)
test_dataloader = val_dataloader
auto_scale_lr = dict(base_batch_size=batch_size)
