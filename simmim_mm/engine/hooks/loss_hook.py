import math
from itertools import chain
from typing import Any

import torch
from mmengine.dist import all_gather_object, all_reduce, get_world_size
from mmengine.hooks import CheckpointHook, Hook
from torch import Tensor

from simmim_mm.checkpoint.finite import non_finite
from simmim_mm.engine.unwrap import is_sharded, local_part, unwrap
from simmim_mm.registry import HOOKS


class NonFiniteLossError(ValueError):
    """The training has diverged."""


@HOOKS.register_module()
class LossHook(Hook):
    """Averages the losses over the processes and stops the run when it has diverged.

    mmengine logs the losses of the first process only; the mean over all of them is the loss of the
    whole batch, what one process with a batch that large would log. It also makes all processes
    stop together.

    A run has diverged when a loss is not finite, or when a weight is not finite as a checkpoint or
    a validation is due: the checkpoint is not written, so that the last one is sound.

    With fp16 a loss may overflow now and then. The gradient scaler leaves such a step out, so that
    the weights stay sound and some in a row are let pass.

    Args:
        patience: Non-finite losses in a row that are let pass while a gradient scaler is active.
    """

    # Before RuntimeInfoHook, which hands the losses to the log, and before CheckpointHook.
    priority = 'HIGHEST'

    def __init__(self, patience: int = 5) -> None:
        self.patience = patience
        self._in_a_row = 0
        self._checked = -1  # iterations after which the weights were looked at last

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if outputs:
            self._check_losses(runner, data_batch, outputs)
        if any(self._saves_now(hook, runner) for hook in runner.hooks):
            self._check_weights(runner, runner.iter + 1)

    def after_train_epoch(self, runner) -> None:
        self._check_weights(runner, runner.iter)

    def before_val(self, runner) -> None:
        self._check_weights(runner, runner.iter)

    def _check_losses(self, runner, data_batch: Any, outputs: dict) -> None:
        values = torch.stack([torch.as_tensor(v).detach().float() for v in outputs.values()])
        if get_world_size() > 1:
            all_reduce(values, op='mean')
        outputs.update(zip(tuple(outputs), values.tolist()))
        # as mmengine: what has 'loss' in its name is minimized; others may have nothing to measure
        bad = {k: v for k, v in outputs.items() if 'loss' in k and not math.isfinite(v)}
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
        if files := _bad_images(data_batch):
            raise NonFiniteLossError(
                f'{what} in {where}: these images hold NaN or infinity: {", ".join(files)}. Leave '
                'them out or repair them. --resume continues from the last checkpoint, written '
                'before this.'
            )
        raise _diverged(f'{what} in {where}')

    @staticmethod
    def _saves_now(hook: Hook, runner) -> bool:
        if not isinstance(hook, CheckpointHook) or hook.by_epoch:
            return False
        return hook.every_n_train_iters(runner, hook.interval) or (
            hook.save_last and hook.is_last_train_iter(runner)
        )

    def _check_weights(self, runner, done: int) -> None:
        if done == self._checked:
            return
        self._checked = done
        model = unwrap(runner.model)
        names = non_finite({k: local_part(v) for k, v in model.state_dict().items()})
        if is_sharded(model):
            names = list(dict.fromkeys(chain.from_iterable(all_gather_object(names))))
        if names:
            raise _diverged(
                f'{len(names)} weights are not finite after {done} iterations, such as {names[0]}'
            )


def _diverged(what: str) -> NonFiniteLossError:
    return NonFiniteLossError(
        f'{what}: the training has diverged. Try a lower learning rate or a longer '
        'warm-up, gradient clipping (optim_wrapper.clip_grad=dict(max_norm=5.0)), bfloat16 '
        'instead of fp16 (optim_wrapper.dtype=bfloat16) or no --amp; check that mean and std '
        'suit the images. --resume continues from the last checkpoint, written before this.'
    )


def _bad_images(batch: Any) -> list[str]:
    """Names of the images of a batch that are not finite themselves, where it knows them."""
    if not isinstance(batch, dict):
        return []
    return [
        str(sample.img_path)
        for image, sample in zip(batch.get('inputs', ()), batch.get('data_samples') or ())
        if isinstance(image, Tensor) and 'img_path' in sample and not image.isfinite().all()
    ]
