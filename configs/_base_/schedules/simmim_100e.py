# The authors' 100 epochs: 2e-4, warm-up from 1e-6, minimum 1e-5, each times (total batch / 512).
lr = 2e-4 * 2048 / 512
no_decay = dict(decay_mult=0.0)

optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(type='FusedAdamW', lr=lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05),
    clip_grad=dict(max_norm=5.0),
    # Exempt: every 1-d parameter (norms, biases, layer scale) and these by name.
    paramwise_cfg=dict(
        flat_decay_mult=0.0,
        custom_keys=dict(
            mask_token=no_decay,
            cls_token=no_decay,
            pos_embed=no_decay,
            relative_position_bias_table=no_decay,
            cpb_mlp=no_decay,  # Swin v2: the network that makes the position bias
            logit_scale=no_decay,  # Swin v2: temperature of the attention
        ),
    ),
)

warmup = dict(
    type='WarmupLR', start_factor=1e-6 / 2e-4, end=10, by_epoch=True, convert_to_iter_based=True
)
# The minimum is relative, so that it follows --auto-scale-lr like the rest of the curve.
cosine = dict(
    type='CosineThroughWarmupLR',
    eta_min_ratio=1e-5 / 2e-4,
    T_max=100,
    begin=10,
    end=100,
    by_epoch=True,
    convert_to_iter_based=True,
)
param_scheduler = [warmup, cosine]
train_cfg = dict(type='EpochTrainLoop', max_epochs=100)
auto_scale_lr = dict(base_batch_size=2048)
