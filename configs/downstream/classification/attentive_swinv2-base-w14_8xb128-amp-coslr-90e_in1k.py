# Attentive probe of the last map.
_base_ = ['_base_/attentive.py', '_base_/backbones/swinv2-base-w14.py']

checkpoint = None  # of the pretraining; None: from scratch
pretrained = checkpoint and dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')

model = dict(
    backbone=dict(_base_.backbone, init_cfg=pretrained),
    neck=dict(in_channels=_base_.channels, num_heads=16),
    head=dict(in_channels=_base_.channels),
)
