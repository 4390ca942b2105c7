"""Training: hooks, loops, optimization, schedules, launching, checks before a run."""

from simmim_mm.checkpoint.file_backend import AtomicLocalBackend
from simmim_mm.engine.amp import AmpOptimWrapper
from simmim_mm.engine.hooks import *  # noqa: F403
from simmim_mm.engine.layer_decay import LayerDecayOptimWrapperConstructor
from simmim_mm.engine.loops import EpochTrainLoop
from simmim_mm.engine.optimizers import FusedAdamW
from simmim_mm.engine.schedulers import CosineThroughWarmupLR, WarmupLR
from simmim_mm.engine.timed import TimedSchedulerHook, TimedTrainLoop

__all__ = [
    'AmpOptimWrapper',
    'AtomicLocalBackend',
    'CosineThroughWarmupLR',
    'EpochTrainLoop',
    'FusedAdamW',
    'LayerDecayOptimWrapperConstructor',
    'TimedSchedulerHook',
    'TimedTrainLoop',
    'WarmupLR',
]
