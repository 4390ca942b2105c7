# The authors' 800 epochs: 1e-4, warm-up from 5e-7, each times (total batch / 512); a tenth of it
# from epoch 700 on.
_base_ = 'simmim_100e.py'

lr = 1e-4 * 2048 / 512
optim_wrapper = dict(optimizer=dict(lr=lr))

# Milestones count from `begin`, here the start of training. In mmpretrain they count from the end
# of the warm-up, and the rate drops at epoch 710.
step = dict(
    type='MultiStepLR', milestones=[700], gamma=0.1, by_epoch=True, convert_to_iter_based=True
)
param_scheduler = [dict(_base_.warmup, start_factor=5e-7 / 1e-4), step]
train_cfg = dict(max_epochs=800)
