# CIFAR-10: see _base_/finetune_cifar10.py.
_base_ = ['_base_/finetune_cifar10.py', '_base_/backbones/vit-micro-p4.py']

checkpoint = None  # of the pretraining; None: from scratch
pretrained = checkpoint and dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')

model = dict(
    backbone=dict(
        _base_.backbone,
        drop_path_rate=0.1,
        frozen_pos_embed=False,
        out_type='avg_featmap',
        final_norm=False,
        init_cfg=pretrained,
    ),
    head=dict(in_channels=_base_.channels),
)
