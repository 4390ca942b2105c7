# A schedule for small data sets, the same with and without pretraining, and what else a run does.
#
# By path: `mmseg::` does not resolve when mmseg is installed as onedl-mmsegmentation.
_base_ = __import__('mmseg').__path__[0] + '/.mim/configs/_base_/default_runtime.py'

custom_imports = dict(imports=['simmim_mm'], allow_failed_imports=False)
randomness = dict(seed=0)
custom_hooks = [dict(type='simmim_mm.LossHook')]  # stops a training that diverges

max_iters = 4000
warmup_iters = 100
lr = 2e-4
no_decay = dict(decay_mult=0.0)

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=lr, betas=(0.9, 0.999), weight_decay=0.05),
    clip_grad=dict(max_norm=5.0),
    constructor='simmim_mm.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(
        layer_decay_rate=0.9,
        flat_decay_mult=0.0,
        custom_keys=dict(pos_embed=no_decay, relative_position_bias_table=no_decay),
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=warmup_iters, by_epoch=False),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.01,
        begin=warmup_iters,
        end=max_iters,
        by_epoch=False,
    ),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=500)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='simmim_mm.AtomicCheckpointHook', by_epoch=False, interval=500, max_keep_ckpts=1
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'),
)
auto_scale_lr = dict(enable=False, base_batch_size=4)
