# Attentive probe of an intermediate layer.
_base_ = ['_base_/attentive.py', '_base_/backbones/simmim-vit-base-p16.py']

checkpoint = None  # of the pretraining; None: from scratch
pretrained = checkpoint and dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')
layer = 8  # of 12, counted from 1

model = dict(
    backbone=dict(_base_.backbone, out_indices=[layer - 1], init_cfg=pretrained),
    neck=dict(in_channels=_base_.channels),
    head=dict(in_channels=_base_.channels),
)
