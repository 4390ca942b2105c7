# Linear probe of the last stage; `out_indices=(2,)` and 512 channels probe the third.
_base_ = ['_base_/linear.py', '_base_/backbones/swinv2-base-w14.py']

checkpoint = None  # of the pretraining; None: from scratch
pretrained = checkpoint and dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')

model = dict(
    backbone=dict(_base_.backbone, init_cfg=pretrained),
    neck=dict(in_channels=_base_.channels),
    head=dict(in_channels=_base_.channels),
)
