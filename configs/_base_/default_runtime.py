# What a run does besides training: log, save, draw, and stay reproducible.
default_scope = 'simmim_mm'
custom_imports = dict(imports=['simmim_mm'], allow_failed_imports=False)

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    # `by_epoch=False` with an interval in iterations where an epoch takes hours: a run resumes in
    # the middle of an epoch, too.
    checkpoint=dict(type='AtomicCheckpointHook', interval=1, max_keep_ckpts=3),
    sampler_seed=dict(type='DistSamplerSeedHook'),
)
custom_hooks = [
    dict(type='ReproducibilityHook'),
    dict(type='LossHook'),
    dict(type='ThroughputHook'),
    dict(type='BadFilesHook'),
    dict(type='ReconstructionHook'),
]

# The checkpoint's seed wins when a run is resumed. `deterministic=True` for equal bits on a GPU.
randomness = dict(seed=0)
# Images are of one size, so trying out convolutions pays.
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),  # gloo on machines without a GPU
)

# A validation is logged as it is. mmengine would show the mean of the last ones of a figure whose
# name holds 'loss', as masked_loss/loss does.
log_processor = dict(
    window_size=50, mean_pattern=r'^(?!.*masked_loss).*(loss|time|data_time|grad_norm)'
)
log_level = 'INFO'
vis_backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
visualizer = dict(type='Visualizer', vis_backends=vis_backends)

load_from = None
resume = False
