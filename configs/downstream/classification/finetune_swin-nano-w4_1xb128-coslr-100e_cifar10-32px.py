# CIFAR-10: see _base_/finetune_cifar10.py.
_base_ = ['_base_/finetune_cifar10.py', '_base_/backbones/swin-nano-w4.py']

checkpoint = None  # of the pretraining; None: from scratch
pretrained = checkpoint and dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')

model = dict(
    backbone=dict(_base_.backbone, drop_path_rate=0.1, init_cfg=pretrained),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(in_channels=_base_.channels),
)
