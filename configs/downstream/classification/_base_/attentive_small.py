# An attentive probe on your own folders; see finetune_small.py.
_base_ = 'linear_small.py'

lr = 1e-3

model = dict(neck=dict(type='simmim_mm.AttentivePool'))
optim_wrapper = dict(
    optimizer=dict(lr=lr, weight_decay=0.05), paramwise_cfg=dict(flat_decay_mult=0.0)
)
