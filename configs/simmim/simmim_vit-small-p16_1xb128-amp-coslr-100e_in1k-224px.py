# For one GPU, with the schedule of the 100 epochs. The rate is ours: the authors', times the root
# of the batch ratio.
_base_ = 'simmim_vit-base-p16_16xb128-amp-steplr-800e_in1k-224px.py'

lr = 2e-4

model = dict(backbone=dict(arch='deit-small'), neck=dict(in_channels=384))
optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = [_base_.warmup, _base_.cosine]
train_cfg = dict(max_epochs=100)
auto_scale_lr = dict(base_batch_size=128)
