# Linear probe of an intermediate layer of SimMIM's ViT-B on ImageNet-1k at 224 pixels.
#
# The paper (section 4.2) takes the best layer without naming it. The schedule is MAE's; the paper's
# has 100 epochs, 5 of them warm-up.
_base_ = ['_base_/linear.py', '../_base_/backbones/simmim-vit-base-p16.py']

layer = 8  # of 12, counted from 1

model = dict(backbone=dict(_base_.backbone, out_indices=[layer - 1]))
