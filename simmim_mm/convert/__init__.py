from .safe_load import CheckpointError, NotWeights, UnsafeCheckpoint, find_state_dict, load_weights

__all__ = ['CheckpointError', 'NotWeights', 'UnsafeCheckpoint', 'find_state_dict', 'load_weights']
