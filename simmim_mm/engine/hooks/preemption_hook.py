from pathlib import Path

import torch
from mmengine.dist import all_reduce, barrier, get_world_size, is_main_process
from mmengine.fileio import get_file_backend
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import EpochBasedTrainLoop

from simmim_mm.engine.loops import EpochTrainLoop
from simmim_mm.engine.stop_request import Stopped, StopRequest
from simmim_mm.registry import HOOKS

_INFO = 'preempted_ckpt'  # paths of the checkpoints of such stops


@HOOKS.register_module()
class PreemptionHook(Hook):
    """Writes a checkpoint and ends the training when the process is asked to stop.

    The iteration that is running is finished; where gradients are accumulated, so are those until
    the step of the optimizer. All processes of a run stop together as soon as one is asked to. A
    validation of a single process breaks off.

    ``iter_N.pth`` in the work dir then has all that ``--resume`` needs, and is deleted when the
    next checkpoint has been written. None is written where the training could not continue from
    it: within an epoch of a loop that cannot start there. It then continues from the last one.

    ``simmim train`` has it in every training.

    Args:
        request: Notes the signals.
    """

    # After CheckpointHook, whose checkpoint may be due now.
    priority = 'LOWEST'

    def __init__(self, request: StopRequest) -> None:
        self._request = request
        self._saved = -1  # iterations in the last checkpoint that can be continued from
        self._newest = ''  # its name, where that is known

    def before_train(self, runner) -> None:
        self._saved, self._newest = runner.iter, Path(runner._load_from or '').name
        self._remove_outdated(runner)
        self._request.defer()

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        if 'optimizer' in checkpoint:
            self._saved = checkpoint['meta']['iter']
            self._newest = Path(runner.message_hub.get_info('last_ckpt', '')).name

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self._remove_outdated(runner)
        done = runner.iter + 1
        accumulated = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        if self._asked() and done % accumulated == 0:
            self._stop(runner, done)

    def before_val(self, runner) -> None:
        self._remove_outdated(runner)
        if self._asked():
            self._stop(runner, runner.iter)

    def after_val_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        # Processes may have unequal numbers of batches. An average of the weights may be in their
        # place until the validation ends.
        averaged = any(isinstance(hook, EMAHook) for hook in runner.hooks)
        waits = averaged and self._saved != runner.iter
        if self._request.asked and get_world_size() == 1 and not waits:
            self._stop(runner, runner.iter)

    def after_val(self, runner) -> None:
        if self._asked():
            self._stop(runner, runner.iter)

    def after_train(self, runner) -> None:
        self._remove_outdated(runner)

    def _asked(self) -> bool:
        if get_world_size() == 1:
            return self._request.asked
        asked = torch.tensor(int(self._request.asked))
        all_reduce(asked, op='max')
        return bool(asked)

    def _stop(self, runner, done: int) -> None:
        if done == self._saved:
            written = 'its last checkpoint has all of it'
        elif not _can_continue(runner, done):
            written = 'no checkpoint is written, since this loop cannot continue within an epoch'
        else:
            path = Path(runner.work_dir, f'iter_{done}.pth')
            runner.message_hub.update_info(_INFO, [*_extras(runner), str(path)])
            runner.save_checkpoint(
                str(path.parent),
                path.name,
                meta=dict(epoch=runner.epoch, iter=done),
                by_epoch=False,
                backend_args=dict(backend='atomic'),
            )
            if is_main_process():
                pointer = str(path.with_name('last_checkpoint'))
                backend = get_file_backend(pointer, backend_args=dict(backend='atomic'))
                backend.put_text(str(path), pointer)
            self._newest = path.name
            self._remove_outdated(runner)
            written = f'wrote {path}'
        barrier()  # the first process to end may end the others
        runner.logger.warning(
            f'Stopped by a signal after {done} iterations: {written}. The same command with '
            f'--resume continues.'
        )
        raise Stopped

    def _remove_outdated(self, runner) -> None:
        kept = []
        for path in _extras(runner):
            done, name = int(Path(path).stem.split('_')[1]), Path(path).name
            # Stopped as an epoch ended, the checkpoint of that epoch has as many iterations.
            if done > self._saved or (done == self._saved and self._newest in ('', name)):
                kept.append(path)
            elif is_main_process():  # the folder may have been moved meanwhile
                Path(runner.work_dir, name).unlink(missing_ok=True)
        runner.message_hub.update_info(_INFO, kept)


def _extras(runner) -> list[str]:
    """Checkpoints that such stops have written; in checkpoints of before, a single path or None."""
    paths = runner.message_hub.get_info(_INFO, None) or []
    return [paths] if isinstance(paths, str) else paths


def _can_continue(runner, done: int) -> bool:
    """Whether a training continues after ``done`` iterations as if it had not been stopped."""
    loop = runner.train_loop
    if not isinstance(loop, EpochBasedTrainLoop) or done == runner.epoch * len(loop.dataloader):
        return True
    return isinstance(loop, EpochTrainLoop) and hasattr(loop.dataloader.sampler, 'skip')
