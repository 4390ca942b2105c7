# Linear probe on CIFAR-10: see _base_/finetune_cifar10.py.
_base_ = ['_base_/linear_cifar10.py', '_base_/backbones/swin-nano-w4.py']

checkpoint = None  # of the pretraining; None: from scratch
pretrained = checkpoint and dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')

model = dict(
    backbone=dict(_base_.backbone, init_cfg=pretrained),
    neck=dict(in_channels=_base_.channels),
    head=dict(in_channels=_base_.channels),
)
