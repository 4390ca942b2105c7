from .amp import AmpOptimWrapper
from .file_backend import AtomicLocalBackend
from .hooks import *  # noqa: F403
from .hooks import __all__ as _hooks
from .layer_decay import LayerDecayOptimWrapperConstructor
from .loops import EpochTrainLoop
from .optimizers import FusedAdamW
from .schedulers import CosineThroughWarmupLR, WarmupLR

__all__ = [
    'AmpOptimWrapper',
    'AtomicLocalBackend',
    'CosineThroughWarmupLR',
    'EpochTrainLoop',
    'FusedAdamW',
    'LayerDecayOptimWrapperConstructor',
    'WarmupLR',
    *_hooks,
]
