from mmengine.hooks import Hook

from simmim_mm.masking import avg_dist
from simmim_mm.registry import HOOKS


@HOOKS.register_module()
class AvgDistHook(Hook):
    """Logs ``avg_dist``, SimMIM's measure of how hard the masks are.

    It is the mean distance, in pixels, of masked tokens to the nearest visible one over the images
    of a batch on the first process; see :func:`simmim_mm.masking.avg_dist`. 128 masks of 48 x 48
    tokens take about 10 ms.

    Args:
        interval: Iterations between two batches that are looked at. The default is that of the log.
    """

    # Before LoggerHook (BELOW_NORMAL).
    priority = 'NORMAL'

    def __init__(self, interval: int = 50) -> None:
        self.interval = interval

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Measure the masks of every ``interval``-th batch."""
        if not self.every_n_train_iters(runner, self.interval):
            return
        masks = [sample.mask for sample in data_batch['data_samples']]
        stride = data_batch['inputs'][0].shape[-2] // masks[0].shape[-2]
        distance = sum(avg_dist(mask, stride) for mask in masks) / len(masks)
        runner.message_hub.update_scalar('train/avg_dist', distance)
