# Linear probe of the class token of MAE's ViT-B on ImageNet-1k at 224 pixels.
_base_ = ['_base_/linear.py', '../_base_/backbones/mae-vit-base-p16.py']

model = dict(
    backbone=dict(_base_.backbone, out_type='cls_token'),
    neck=dict(_delete_=True, type='ClsBatchNormNeck'),
)
