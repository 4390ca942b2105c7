from typing import Any

from mmengine.runner import EpochBasedTrainLoop

from simmim_mm.registry import LOOPS

_PROGRESS = 'epoch_progress'  # samples of this epoch that all processes have used, and all of it


@LOOPS.register_module()
class EpochTrainLoop(EpochBasedTrainLoop):
    """Training by epochs that can be resumed in the middle of one.

    mmengine's loop starts the epoch over, so that checkpoints written by iteration repeat data and
    let the counts of iterations and epochs drift apart. This one lets the sampler skip the samples
    that were seen, and counts the batches from there. A run that is resumed where a validation is
    due begins with it: whether it was finished is not known.

    The sampler needs ``skip(n)``: leave out the next n samples of this process, once
    (``ReproducibleSampler``). Other samplers start the epoch over, with a warning.

    With another number of processes or another batch size, the epoch goes on after the samples that
    the checkpoint counts, if the sampler also has ``skip_total(n)``, of all processes, and
    ``left_after(n)``. Iterations are then counted as if all had been of today's size.
    """

    _first_batch = 0
    _samples_seen = 0  # in the resumed epoch, by all processes

    def run(self):
        """Train from where the runner stands to the last epoch."""
        self._first_batch = self._batches_done()
        self.runner.call_hook('before_train')
        if self._epoch and self._iter == self._epoch * len(self.dataloader):
            self._validate()
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._validate()
        self.runner.call_hook('after_train')
        return self.runner.model

    def _validate(self) -> None:
        """Validate if it is due after this epoch."""
        self._decide_current_val_interval()
        due = self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs
        if self.runner.val_loop is not None and self._epoch >= self.val_begin and due:
            self.runner.val_loop.run()

    def run_epoch(self) -> None:
        first, self._first_batch = self._first_batch, 0
        seen, self._samples_seen = self._samples_seen, 0
        loader: Any = self.dataloader
        total, batch = len(loader.dataset), loader.batch_size or 1
        together = batch * self.runner.world_size
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        if first < len(loader):
            if seen:  # _batches_done has seen that it can
                loader.sampler.skip_total(seen)
            elif first:
                loader.sampler.skip(first * batch)
                seen = first * together
            for idx, data_batch in enumerate(loader, first):
                seen += together
                self.runner.message_hub.update_info(_PROGRESS, (seen, total))
                self.run_iter(idx, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _batches_done(self) -> int:
        """Batches of the current epoch that a resumed run has behind it."""
        length = len(self.dataloader)
        problem, epoch = None, f'epoch {self._epoch + 1}'
        # What the checkpoint knows; the hook that enters this run's numbers has not run yet.
        hub = self.runner.message_hub
        iters, epochs = hub.get_info('max_iters', 0), hub.get_info('max_epochs', 0)
        seen, total = hub.get_info(_PROGRESS, (0, 0))
        loader: Any = self.dataloader
        can_skip = hasattr(loader.sampler, 'skip_total') and loader.batch_size
        if can_skip and epochs and total == len(loader.dataset):
            return self._continue_epoch(seen, total, iters // epochs)
        done = self._iter - self._epoch * length
        if done == 0:
            return 0
        if not 0 < done <= length or (epochs and iters != epochs * length):
            before = f'{iters // epochs}' if epochs else 'another number of'
            problem = (
                f'the checkpoint is of a run with {before} iterations per epoch, this one has '
                f'{length} (other batch size, number of processes or data)'
            )
        elif not hasattr(self.dataloader.sampler, 'skip'):
            problem = f'{type(self.dataloader.sampler).__name__} cannot skip samples'
        if problem:
            self.runner.logger.warning(
                f'Resuming at the beginning of {epoch}, not in its middle: {problem}.'
            )
            return 0
        self.runner.logger.info(f'Resuming {epoch} after {done} of {length} iterations.')
        return done

    def _continue_epoch(self, seen: int, total: int, length: int) -> int:
        """Batches of today's size up to the place that a checkpoint has reached in its epoch.

        Args:
            seen: Samples of the epoch that all processes have used.
            total: All samples.
            length: Iterations of an epoch, as they were.
        """
        loader: Any = self.dataloader
        logger, was = self.runner.logger, self._iter
        done, first = was - self._epoch * length, 0
        if done:
            left = loader.sampler.left_after(seen)
            batches = (
                left // loader.batch_size if loader.drop_last else -(-left // loader.batch_size)
            )
            first = len(loader) - batches
            self._samples_seen = seen
            logger.info(f'Resuming epoch {self._epoch + 1} after {done} of {length} iterations.')
        self._iter = self._epoch * len(loader) + first
        if was != self._iter:
            logger.warning(
                f'The checkpoint is of a run with other batches or processes: {min(seen, total)} '
                f'of {total} samples of epoch {self._epoch + 1} are left out as seen, and its '
                f'{was} iterations count as {self._iter}.'
            )
        return first
