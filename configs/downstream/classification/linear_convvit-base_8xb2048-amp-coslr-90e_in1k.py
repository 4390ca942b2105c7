# Linear probe of the last map of ConvMAE-B on ImageNet-1k at 224 pixels.
_base_ = ['_base_/linear.py', '../_base_/backbones/convvit-base.py']

model = dict(backbone=_base_.backbone)
