_base_ = '../../../_base_/default_runtime.py'

default_scope = 'mmpretrain'
default_hooks = dict(
    checkpoint=dict(
        type='simmim_mm.AtomicCheckpointHook', max_keep_ckpts=1, save_best='accuracy/top1'
    )
)
custom_hooks = [dict(type='simmim_mm.LossHook'), dict(type='simmim_mm.ThroughputHook')]
# To average the weights over the training and to validate the average, write into a config
#   custom_hooks = [*_base_.custom_hooks, _base_.ema]
ema = dict(type='EMAHook', momentum=1e-4, priority='ABOVE_NORMAL')

find_unused_parameters = True  # the mask token takes no part after the pretraining
