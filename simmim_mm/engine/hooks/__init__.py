from .avg_dist_hook import AvgDistHook
from .bad_files_hook import BadFilesHook
from .checkpoint_hook import AtomicCheckpointHook
from .knn_hook import KNNHook
from .loss_hook import LossHook, NonFiniteLossError
from .reconstruction_hook import ReconstructionHook
from .reproducibility_hook import ReproducibilityHook
from .throughput_hook import ThroughputHook

__all__ = [
    'AtomicCheckpointHook',
    'AvgDistHook',
    'BadFilesHook',
    'KNNHook',
    'LossHook',
    'NonFiniteLossError',
    'ReconstructionHook',
    'ReproducibilityHook',
    'ThroughputHook',
]
