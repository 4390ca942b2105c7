from collections import deque
from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook

from simmim_mm.registry import HOOKS


@HOOKS.register_module()
class ThroughputHook(Hook):
    """Logs ``images_per_second`` over all processes, waiting for data included.

    It is the images of the last iterations by their time, as ``IterTimerHook`` takes it.

    Args:
        window: Iterations that are averaged.
        skip: First iterations of a run that are left out: starting the workers and choosing
            kernels says nothing about the speed.
    """

    # After IterTimerHook (NORMAL), before LoggerHook (BELOW_NORMAL).
    priority = 'NORMAL'

    def __init__(self, window: int = 50, skip: int = 3) -> None:
        self.skip = skip
        self._recent: deque = deque(maxlen=window)
        self._seen = 0

    def before_train(self, runner) -> None:
        """Start over: a resumed run may be on another machine."""
        self._recent.clear()
        self._seen = 0

    def after_train_iter(self, runner, batch_idx, data_batch: Any = None, outputs=None) -> None:
        self._seen += 1
        if self._seen <= self.skip:
            return
        seconds = float(runner.message_hub.get_scalar('train/time').current())
        self._recent.append((len(data_batch['inputs']) * get_world_size(), seconds))
        images, seconds = map(sum, zip(*self._recent))
        runner.message_hub.update_scalar('train/images_per_second', images / max(seconds, 1e-9))
