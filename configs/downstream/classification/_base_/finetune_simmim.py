# SimMIM's fine-tuning: 100 epochs at a rate of 5e-3 for a batch of 2048, 20 of them warm-up. The
# rates of the layers decay from the head to the stem by `layer_decay_rate`, set for each backbone.
_base_ = 'data.py'

lr = 1.25e-3 * 2048 / 512
no_decay = dict(decay_mult=0.0)

model = dict(
    type='simmim_mm.Classifier',
    data_preprocessor=_base_.preprocessor,
    head=dict(
        type='LinearClsHead',
        num_classes=_base_.num_classes,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02),
    ),
    # one of the two for each batch, with equal probability
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]),
)
optim_wrapper = dict(
    type='simmim_mm.AmpOptimWrapper',
    optimizer=dict(type='AdamW', lr=lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05),
    clip_grad=dict(max_norm=5.0),
    constructor='simmim_mm.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(
        flat_decay_mult=0.0,
        custom_keys=dict(
            mask_token=no_decay,
            cls_token=no_decay,
            pos_embed=no_decay,
            relative_position_bias_table=no_decay,
            cpb_mlp=no_decay,
            logit_scale=no_decay,
        ),
    ),
)
# Start and end are 2.5e-7 for the same batch; here as a fraction of each layer's rate.
warmup = dict(
    type='simmim_mm.WarmupLR',
    start_factor=2.5e-7 / 1.25e-3,
    end=20,
    by_epoch=True,
    convert_to_iter_based=True,
)
cosine = dict(
    type='simmim_mm.CosineThroughWarmupLR',
    eta_min_ratio=2.5e-7 / 1.25e-3,
    T_max=100,
    begin=20,
    end=100,
    by_epoch=True,
    convert_to_iter_based=True,
)
param_scheduler = [warmup, cosine]
train_cfg = dict(by_epoch=True, max_epochs=100)
auto_scale_lr = dict(base_batch_size=2048)
