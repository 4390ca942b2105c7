import os
from collections import deque
from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook

from simmim_mm.registry import HOOKS


@HOOKS.register_module()
class ThroughputHook(Hook):
    """Logs ``images_per_second`` over all processes, waiting for data included.

    It is the images of the last iterations by their time, as ``IterTimerHook`` takes it. Where
    waiting for data takes a third of that for long, it says so once, with what helps.

    Args:
        window: Iterations that are averaged.
        skip: First iterations of a run that are left out: starting the workers and choosing
            kernels says nothing about the speed.
        patience: Seconds of waiting for data, since the start, before that is said.
    """

    # After IterTimerHook (NORMAL), before LoggerHook (BELOW_NORMAL).
    priority = 'NORMAL'

    def __init__(self, window: int = 50, skip: int = 3, patience: float = 60.0) -> None:
        self.skip = skip
        self.patience = patience
        self._waited, self._told = 0.0, False
        self._recent: deque = deque(maxlen=window)
        self._seen = 0

    def before_train(self, runner) -> None:
        """Start over: a resumed run may be on another machine."""
        self._recent.clear()
        self._seen = 0

    def after_train_iter(self, runner, batch_idx, data_batch: Any = None, outputs=None) -> None:
        self._seen += 1
        images = data_batch.get('inputs') if isinstance(data_batch, dict) else None
        if self._seen <= self.skip or images is None:
            return
        seconds = float(runner.message_hub.get_scalar('train/time').current())
        scalars = runner.message_hub.log_scalars
        waited = scalars['train/data_time'].current() if 'train/data_time' in scalars else 0.0
        self._recent.append((len(images) * get_world_size(), seconds, float(waited)))
        images, seconds, waited = map(sum, zip(*self._recent))
        runner.message_hub.update_scalar('train/images_per_second', images / max(seconds, 1e-9))
        self._waited += self._recent[-1][2]
        full = len(self._recent) == self._recent.maxlen
        if full and not self._told and waited > seconds / 3 and self._waited > self.patience:
            self._told = True
            runner.logger.warning(_advice(runner, waited / seconds))


def _advice(runner: Any, share: float) -> str:
    loader = runner.train_dataloader
    cores = len(os.sched_getaffinity(0)) // int(os.environ.get('LOCAL_WORLD_SIZE', 1))
    text = f'Loading is the limit: {share:.0%} of the time goes into waiting for images. '
    if loader.num_workers < cores - 1:
        text += (
            f'Load with more processes: train_dataloader.num_workers={cores - 1} instead of '
            f'{loader.num_workers}, this process has {cores} cores. '
        )
    elif not loader.persistent_workers and loader.num_workers:
        text += 'Keep them between epochs: train_dataloader.persistent_workers=True. '
    return text + (
        'Large originals load faster from copies with a shorter side of about twice the crop: '
        '`simmim cache`.'
    )
