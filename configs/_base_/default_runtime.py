# What a run does besides training: log, save, draw, and stay reproducible.
default_scope = 'simmim_mm'
custom_imports = dict(imports=['simmim_mm'], allow_failed_imports=False)

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    # Where an epoch takes hours, `by_epoch=False` and an interval in iterations: a run also resumes
    # in the middle of an epoch.
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

# A resumed run takes the seed of its checkpoint. `deterministic=True` gives equal bits on a GPU.
randomness = dict(seed=0)
# All images have one size, so it pays to let cuDNN try its algorithms.
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),  # gloo on machines without a GPU
)

# A validation is logged as it is. By default mmengine logs the mean of the last ones for every
# metric with 'loss' in its name, such as masked_loss/loss.
log_processor = dict(
    window_size=50, mean_pattern=r'^(?!.*masked_loss).*(loss|time|data_time|grad_norm)'
)
log_level = 'INFO'
vis_backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
visualizer = dict(type='Visualizer', vis_backends=vis_backends)

load_from = None
resume = False
