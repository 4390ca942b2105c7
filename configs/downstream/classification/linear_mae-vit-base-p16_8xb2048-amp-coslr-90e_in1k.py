# MAE's linear probe, of the class token: 67.1 in mmselfsup after 1600 epochs of pretraining.
_base_ = ['_base_/linear.py', '_base_/backbones/mae-vit-base-p16.py']

checkpoint = None  # of the pretraining; None: from scratch
pretrained = checkpoint and dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')

model = dict(
    backbone=dict(_base_.backbone, out_type='cls_token', init_cfg=pretrained),
    neck=dict(_delete_=True, type='ClsBatchNormNeck', input_features=_base_.channels),
    head=dict(in_channels=_base_.channels),
)
