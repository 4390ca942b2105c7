# SimMIM's linear probe (section 4.2): an intermediate layer of ViT, average pooled, 56.7 in the
# paper, which takes the best layer without naming it. The schedule is MAE's; the paper's has 100
# epochs, 5 of warm-up.
_base_ = ['_base_/linear.py', '_base_/backbones/simmim-vit-base-p16.py']

checkpoint = None  # of the pretraining; None: from scratch
pretrained = checkpoint and dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')
layer = 8  # of 12, counted from 1

model = dict(
    backbone=dict(_base_.backbone, out_indices=[layer - 1], init_cfg=pretrained),
    neck=dict(in_channels=_base_.channels),
    head=dict(in_channels=_base_.channels),
)
