# For one GPU. The rate is ours: the authors', times the root of the batch ratio.
_base_ = 'simmim_swin-base-w6_8xb256-amp-coslr-100e_in1k-192px.py'

lr = 2e-4

model = dict(backbone=dict(arch='tiny'), neck=dict(in_channels=768))
train_dataloader = dict(batch_size=128)
optim_wrapper = dict(optimizer=dict(lr=lr))
auto_scale_lr = dict(base_batch_size=128)
