# A schedule for small data sets, the same with and without pretraining, and what else a run does.
_base_ = 'mmdet::_base_/default_runtime.py'

custom_imports = dict(imports=['simmim_mm'], allow_failed_imports=False)
default_hooks = dict(checkpoint=dict(type='simmim_mm.AtomicCheckpointHook', max_keep_ckpts=1))
randomness = dict(seed=0)
custom_hooks = [dict(type='simmim_mm.LossHook')]  # stops a training that diverges

max_epochs = 36
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
    dict(type='LinearLR', start_factor=0.01, end=50, by_epoch=False),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.01,
        begin=1,
        end=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=6)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=4)
