import math
import os.path as osp
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.fileio import get_file_backend
from mmengine.hooks import CheckpointHook

from simmim_mm.checkpoint.file_backend import remove_stale_files
from simmim_mm.registry import HOOKS


class CheckpointNotWritten(OSError):
    """A checkpoint could not be written; those before it are as they were."""


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, made safe against a kill at any moment.

    - A checkpoint and the ``last_checkpoint`` file appear complete or not at all.
    - An outdated checkpoint, the best one included, is deleted after its successor is on the disk,
      not before.
    - What earlier killed runs left half-written, or had not yet deleted, is cleared at the start.

    Takes the arguments of mmengine's hook. ``backend_args`` is for work folders that are not local;
    whether these are safe is up to that storage.
    """

    def before_train(self, runner) -> None:
        folder = self.out_dir or runner.work_dir
        if self.backend_args is None and '://' not in str(folder):
            self.backend_args = dict(backend='atomic')
        super().before_train(runner)
        if is_main_process() and self.backend_args == dict(backend='atomic'):
            for name in remove_stale_files(self.out_dir):
                runner.logger.info(f'Removed {name}, which a killed run left unfinished.')
        if is_main_process():
            self._remove_outdated(runner)
        # Gradients that are not applied yet are not part of a checkpoint.
        counts = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        length = len(runner.train_dataloader) if self.by_epoch else 1
        if self.interval > 0 and self.interval * length % counts:
            unit = f'epochs of {length} iterations' if self.by_epoch else 'iterations'
            runner.logger.warning(
                f'Checkpoints every {self.interval} {unit} fall inside the accumulation of '
                f'{counts} iterations: a resumed run loses the gradients gathered so far. Choose '
                f'an interval that is a multiple of {counts // math.gcd(length, counts)}.'
            )

    def _remove_outdated(self, runner) -> None:
        """Delete what the checkpoint that is resumed from was about to outdate."""
        info = runner.message_hub.runtime_info
        best = [value for key, value in info.items() if key.startswith('best_ckpt')]
        names = [self.filename_tmpl.format(step) for step in info.get('outdated_ckpt_ids', ())]
        former = info.get('former_best_ckpts', ())
        names += [osp.basename(path) for path in former if path not in best]
        for name in names:
            self._remove(self.file_backend.join_path(self.out_dir, name))

    def _save_checkpoint_with_step(self, runner, step: int, meta: dict) -> None:
        with _explained():
            self._save_step(runner, step, meta)

    def _save_step(self, runner, step: int, meta: dict) -> None:
        outdated = self._note_step(runner, step)

        filename = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, filename)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            filename,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if not is_main_process():
            return
        pointer = osp.join(runner.work_dir, 'last_checkpoint')
        get_file_backend(pointer, backend_args=self.backend_args).put_text(self.last_ckpt, pointer)
        for old in outdated:
            self._remove(self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(old)))

    def _note_step(self, runner, step: int) -> list[int]:
        """Enter ``step`` in the list that the checkpoint itself carries; returns the outdated."""
        if self.max_keep_ckpts <= 0:
            return []
        steps = [s for s in self.keep_ckpt_ids if s != step] + [step]
        keep, outdated = steps[-self.max_keep_ckpts :], steps[: -self.max_keep_ckpts]
        self.keep_ckpt_ids.clear()
        self.keep_ckpt_ids.extend(keep)
        runner.message_hub.update_info('keep_ckpt_ids', keep)
        runner.message_hub.update_info('outdated_ckpt_ids', outdated)
        return outdated

    def _save_best_checkpoint(self, runner, metrics: dict) -> None:
        # mmengine deletes the former best one first, unless it knows of none.
        if not self.save_best:
            return
        single = len(self.key_indicators) == 1
        former = {0: self.best_ckpt_path} if single else dict(self.best_ckpt_path_dict)
        runner.message_hub.update_info('former_best_ckpts', [p for p in former.values() if p])
        if single:
            self.best_ckpt_path = None
        else:
            self.best_ckpt_path_dict = dict.fromkeys(former)

        with _explained():
            super()._save_best_checkpoint(runner, metrics)

        now = {0: self.best_ckpt_path} if single else self.best_ckpt_path_dict
        for key, old in former.items():
            if now[key] is None:
                now[key] = old
            elif old and old != now[key] and is_main_process():
                self._remove(old)
        if single:
            self.best_ckpt_path = now[0]

    def _remove(self, path: str | Path) -> None:
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
        elif self.file_backend.isdir(path):
            self.file_backend.rmtree(path)  # type: ignore[attr-defined]  # of every backend


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise CheckpointNotWritten(
            f'{error.filename} cannot be written: {error.strerror}. The checkpoints before it are '
            'intact: --resume continues from the last one'
        ) from error
