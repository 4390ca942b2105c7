# MAE: 1.5e-4 times (total batch / 256), warm-up from 0 over 40 epochs, cosine to 0, no clipping.
lr = 1.5e-4 * 4096 / 256

optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(type='FusedAdamW', lr=lr, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.05),
    # timm's rule: exempt are 1-d parameters, not the mask and class tokens.
    paramwise_cfg=dict(flat_decay_mult=0.0),
)

warmup = dict(type='WarmupLR', start_factor=0.0, end=40, by_epoch=True, convert_to_iter_based=True)
cosine = dict(
    type='CosineAnnealingLR',
    eta_min=0.0,
    begin=40,
    end=300,
    by_epoch=True,
    convert_to_iter_based=True,
)
param_scheduler = [warmup, cosine]
train_cfg = dict(type='EpochTrainLoop', max_epochs=300)
auto_scale_lr = dict(base_batch_size=4096)
