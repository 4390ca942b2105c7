from typing import Any

from mmengine.hooks import Hook

from simmim_mm.registry import HOOKS


@HOOKS.register_module()
class HistoryHook(Hook):
    """Bounds the values of every logged scalar that are kept in memory and in checkpoints.

    mmengine keeps a million of each and copies all in every iteration: with seven scalars, about
    100 bytes an iteration in memory and in each checkpoint, and after 100,000 iterations 4 ms a
    step. Logs average the last values only; files of logs have all.

    Nothing is dropped where ``log_processor.custom_cfg`` averages over an epoch or all iterations.

    Args:
        length: Values to keep; more where a window of ``log_processor`` is longer. A new bound
            takes effect within a tenth of it.
    """

    def __init__(self, length: int = 10_000) -> None:
        self.length = length

    def before_train(self, runner: Any) -> None:
        """Take over the windows of the config."""
        logs = runner.log_processor
        windows = [logs.window_size, *(x.get('window_size', 0) for x in logs.custom_cfg)]
        self._keep = None
        if not any(isinstance(window, str) for window in windows):
            self._keep = max(self.length, *windows)

    def after_train_iter(
        self, runner: Any, batch_idx, data_batch: Any = None, outputs=None
    ) -> None:
        """Bound also what is logged for the first time."""
        if self._keep and self.every_n_train_iters(runner, max(1, self.length // 10)):
            for values in runner.message_hub.log_scalars.values():
                values.max_length = self._keep
