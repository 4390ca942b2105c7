# Attentive probe of a Swin of 5M parameters on your own class folders, at 96 pixels without a GPU.
#
# A learned query attends to the frozen positions of the last map (CAE, arXiv 2202.03026).
_base_ = ['_base_/linear_folder.py', '../_base_/backbones/swin-micro.py']

lr = 1e-3

model = dict(backbone=_base_.backbone, neck=dict(type='simmim_mm.AttentivePool'))
optim_wrapper = dict(
    optimizer=dict(lr=lr, weight_decay=0.05), paramwise_cfg=dict(flat_decay_mult=0.0)
)
