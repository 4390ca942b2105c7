# Demo: a short pretraining with SimMIM on the unlabeled shapes of `simmim make-shapes`.
_base_ = '_base_/simmim_shapes.py'

data_root = 'data/shapes/unlabeled'
max_iters = 700
lr = 1e-3

train_dataloader = dict(dataset=dict(dataset=dict(data_root=data_root)))
val_dataloader = None
val_cfg = None
val_evaluator = None
optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=50, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min_ratio=0.01, begin=50, end=max_iters, by_epoch=False),
]
train_cfg = dict(max_iters=max_iters)
default_hooks = dict(checkpoint=dict(interval=max_iters))
