import math

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import Hook

from simmim_mm.registry import HOOKS


class NonFiniteLossError(ValueError):
    """The training has diverged."""


@HOOKS.register_module()
class LossHook(Hook):
    """Averages the losses over the processes and stops the run when one is not finite.

    mmengine logs the losses of the first process only; the mean over all of them is the loss of the
    whole batch, what one process with a batch that large would log. It also makes all processes
    stop together.

    With fp16 a loss may overflow now and then. The gradient scaler leaves such a step out, so that
    the weights stay sound and some in a row are let pass.

    Args:
        patience: Non-finite losses in a row that are let pass while a gradient scaler is active.
    """

    # Before RuntimeInfoHook, which hands the losses to the log.
    priority = 'HIGHEST'

    def __init__(self, patience: int = 5) -> None:
        self.patience = patience
        self._in_a_row = 0

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if not outputs:
            return
        values = torch.stack([torch.as_tensor(v).detach().float() for v in outputs.values()])
        if get_world_size() > 1:
            all_reduce(values, op='mean')
        outputs.update(zip(tuple(outputs), values.tolist()))
        bad = {name: value for name, value in outputs.items() if not math.isfinite(value)}
        if not bad:
            self._in_a_row = 0
            return
        self._in_a_row += 1
        where = f'iteration {runner.iter + 1} (epoch {runner.epoch + 1})'
        what = ', '.join(f'{k} is {v}' for k, v in bad.items())
        scaler = getattr(runner.optim_wrapper, 'loss_scaler', None)
        if scaler is not None and scaler.is_enabled() and self._in_a_row <= self.patience:
            runner.logger.warning(f'{what} in {where}: fp16 overflow, this step is left out.')
            return
        raise NonFiniteLossError(
            f'{what} in {where}: the training has diverged. Try a lower learning rate or a longer '
            'warm-up, gradient clipping (optim_wrapper.clip_grad=dict(max_norm=5.0)), bfloat16 '
            'instead of fp16 (optim_wrapper.dtype=bfloat16) or no --amp; check that mean and std '
            'suit the images. --resume continues from the last checkpoint, written before this.'
        )
