# ADE20K and 80000 iterations of mmseg, with the optimization of the SimMIM paper (appendix C.1):
# AdamW in batches of 32, layer decay 0.9. The paper searches the rate between 1e-4 and 3e-4.
#
# By path: `mmseg::` does not resolve when mmseg is installed as onedl-mmsegmentation.
_base_ = [
    __import__('mmseg').__path__[0] + '/.mim/configs/_base_/default_runtime.py',
    __import__('mmseg').__path__[0] + '/.mim/configs/_base_/datasets/ade20k.py',
    __import__('mmseg').__path__[0] + '/.mim/configs/_base_/schedules/schedule_80k.py',
]

custom_imports = dict(imports=['simmim_mm'], allow_failed_imports=False)
randomness = dict(seed=0)
custom_hooks = [dict(type='simmim_mm.LossHook')]  # stops a training that diverges

lr = 1e-4
max_iters = 80000
warmup_iters = 1500
no_decay = dict(decay_mult=0.0)

train_dataloader = dict(batch_size=4)
optim_wrapper = dict(
    _delete_=True,
    type='AmpOptimWrapper',
    optimizer=dict(type='AdamW', lr=lr, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='simmim_mm.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(
        layer_decay_rate=0.9,
        flat_decay_mult=0.0,
        custom_keys=dict(pos_embed=no_decay, relative_position_bias_table=no_decay),
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, end=warmup_iters, by_epoch=False),
    dict(type='PolyLR', eta_min=0, power=1.0, begin=warmup_iters, end=max_iters, by_epoch=False),
]
auto_scale_lr = dict(enable=False, base_batch_size=32)
