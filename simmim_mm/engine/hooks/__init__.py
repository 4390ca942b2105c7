from simmim_mm.engine.hooks.avg_dist_hook import AvgDistHook
from simmim_mm.engine.hooks.bad_files_hook import BadFilesHook
from simmim_mm.engine.hooks.checkpoint_hook import AtomicCheckpointHook
from simmim_mm.engine.hooks.history_hook import HistoryHook
from simmim_mm.engine.hooks.knn_hook import KNNHook
from simmim_mm.engine.hooks.loss_hook import LossHook, NonFiniteLossError
from simmim_mm.engine.hooks.prediction_hook import PredictionHook
from simmim_mm.engine.hooks.preemption_hook import PreemptionHook
from simmim_mm.engine.hooks.probe_hook import ProbeHook
from simmim_mm.engine.hooks.reconstruction_hook import ReconstructionHook
from simmim_mm.engine.hooks.reproducibility_hook import ReproducibilityHook
from simmim_mm.engine.hooks.schedule_hook import ScheduleHook
from simmim_mm.engine.hooks.throughput_hook import ThroughputHook

__all__ = [
    'AtomicCheckpointHook',
    'AvgDistHook',
    'BadFilesHook',
    'HistoryHook',
    'KNNHook',
    'LossHook',
    'NonFiniteLossError',
    'PredictionHook',
    'PreemptionHook',
    'ProbeHook',
    'ReconstructionHook',
    'ReproducibilityHook',
    'ScheduleHook',
    'ThroughputHook',
]
