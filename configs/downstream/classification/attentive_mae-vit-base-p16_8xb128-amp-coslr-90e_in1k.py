# Attentive probe of the last map of MAE's ViT-B on ImageNet-1k at 224 pixels.
#
# A learned query attends to the frozen tokens (CAE, arXiv 2202.03026), then a batch norm and a
# linear layer. The schedule is ours.
_base_ = ['_base_/linear.py', '../_base_/backbones/mae-vit-base-p16.py']

lr = 1e-3

model = dict(backbone=_base_.backbone, neck=dict(type='simmim_mm.AttentivePool'))
train_dataloader = dict(batch_size=128)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=lr, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(_delete_=True, flat_decay_mult=0.0),
)
auto_scale_lr = dict(base_batch_size=1024)
