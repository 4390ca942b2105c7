"""Training for a given time, however fast the machine is meanwhile."""

import time
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from mmengine.dist import broadcast
from mmengine.hooks import ParamSchedulerHook
from mmengine.runner import IterBasedTrainLoop

from simmim_mm.registry import HOOKS, LOOPS

_TOLERANCE = 0.03  # of the time, by which the end may be off before the plan is changed
_WINDOW = 0.1  # of the time, in which the pace is taken
_UNTIMED, _LEAST = 2, 3  # iterations: first ones that are slower, and those that show a pace
_INFO = 'time_budget'


class TimeBudget:
    """How many iterations fit into a time, and how fast a schedule then passes.

    A schedule is laid out over a number of steps. As long as the training keeps the pace that
    brings it to the end in time, an iteration is one step. Where it would end more than 3% of the
    time too early or too late, by the pace of the last tenth, the number of iterations is changed,
    and what is left of the schedule is spread evenly over what is left of them.

    Args:
        seconds: There are.
        steps: Length of the schedule, and at first the number of iterations.
        extend: More iterations where there is time for them.
        multiple: The number of iterations is one of this: the parts of an accumulated batch.
    """

    def __init__(self, seconds: float, steps: int, extend: bool = True, multiple: int = 1) -> None:
        self.seconds, self.steps, self.extend, self.multiple = seconds, steps, extend, multiple
        self.end = steps
        self.done = 0.0  # steps of the schedule
        self._rate = 1.0  # of these, in an iteration
        self._marks: deque[tuple[int, float]] = deque()
        self._looks = 0

    def look(self, iteration: int, elapsed: float) -> bool:
        """Change the plan if the end would be off; call it before each iteration.

        Args:
            iteration: That are behind.
            elapsed: Seconds that are gone.

        Returns:
            Whether ``end`` is another one now.
        """
        self._looks += 1
        if self._looks > _UNTIMED:
            self._marks.append((iteration, elapsed))
        window = _WINDOW * self.seconds
        while len(self._marks) > _LEAST + 1 and elapsed - self._marks[1][1] >= window:
            self._marks.popleft()
        left = self.seconds - elapsed
        if left < -_TOLERANCE * self.seconds:  # it has stood still
            return self._finish(iteration, 1)
        if len(self._marks) <= _LEAST or elapsed - self._marks[0][1] < window / 2:
            return False
        first, since = self._marks[0]
        pace = (elapsed - since) / (iteration - first)
        off = (self.end - iteration) * pace - left
        if abs(off) <= _TOLERANCE * self.seconds or (off < 0 and not self.extend):
            return False
        return self._finish(iteration, max(1, round(left / pace)))

    def _finish(self, iteration: int, more: int) -> bool:
        end = -(-(iteration + more) // self.multiple) * self.multiple
        if not self.extend:
            end = min(end, self.steps)
        if end == self.end:
            return False
        self.end = end
        self._rate = (self.steps - self.done) / (end - iteration)
        return True

    def advance(self) -> int:
        """Steps of the schedule in the next iteration."""
        before = int(self.done)
        self.done = min(self.steps, self.done + self._rate)
        if self.steps - self.done < 1e-6 * self.steps:  # sums of fractions are not whole
            self.done = float(self.steps)
        return int(self.done) - before

    def state_dict(self) -> dict[str, float]:
        """What a resumed training needs to go on with the same plan."""
        return dict(end=self.end, done=self.done, rate=self._rate, steps=self.steps)

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on with a plan; where the schedule has another length now, at the same part."""
        scale = self.steps / state['steps']
        self.end = int(state['end'])
        self.done, self._rate = state['done'] * scale, state['rate'] * scale


@LOOPS.register_module()
class TimedTrainLoop(IterBasedTrainLoop):
    """Training by iterations that ends at a time; see :class:`TimeBudget`.

    Needs ``default_hooks.param_scheduler.type='TimedSchedulerHook'`` and schedulers that count
    iterations. On a machine of constant speed it is mmengine's loop with the same ``max_iters``.
    Validations are not counted; the last is at the end, the others where the schedule has passed
    multiples of ``val_interval`` steps. A resumed training goes on with the plan and the time of
    its checkpoint. The order of the data is that of epochs.

    Args:
        seconds: There are for training.
        max_iters: Length of the schedule, and the expected number of iterations.
        max_epochs: The same in epochs, of which ``val_interval`` is then a number, too.
        extend: More than that where there is time for it.
    """

    def __init__(
        self,
        runner: Any,
        dataloader: Any,
        seconds: float,
        max_iters: int | None = None,
        max_epochs: int | None = None,
        extend: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(runner, dataloader, max_iters or 1, **kwargs)
        if (max_iters is None) == (max_epochs is None):
            raise ValueError('train_cfg needs max_iters or max_epochs, the length of the schedule')
        if max_epochs is not None:
            self._max_epochs = max_epochs
            self._max_iters = max_epochs * len(self.dataloader)
            self.val_interval *= len(self.dataloader)
        if not seconds > 0:
            raise ValueError(f'train_cfg.seconds must be positive, got {seconds}')
        if not any(isinstance(hook, TimedSchedulerHook) for hook in runner.hooks):
            raise ValueError(
                "TimedTrainLoop needs default_hooks.param_scheduler.type='TimedSchedulerHook', "
                'which lets schedules end with the training'
            )
        self.schedule_length = self._max_iters
        self.schedule_steps = 1  # in this iteration
        multiple = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        self.budget = TimeBudget(seconds, self._max_iters, extend, multiple)
        self._started = time.monotonic()

    @property
    def schedule_done(self) -> int:
        """Steps of the schedule that are behind."""
        return int(self.budget.done)

    def count_from(self, moment: float) -> None:
        """Let the time begin at a moment of ``time.monotonic``, such as the start of a command."""
        self._started = moment

    def run(self) -> torch.nn.Module:
        """Train from where the runner stands to the end of the time."""
        runner = self.runner
        if self._iter and (state := runner.message_hub.get_info(_INFO, None)):
            self.budget.load_state_dict(state)
            self._started -= state['elapsed']
            self._end_at(self.budget.end)
        told = self._max_iters
        runner.call_hook('before_train')
        runner.call_hook('before_train_epoch')
        batches = self._batches()
        while self._iter < self._max_iters and not self.stop_training:
            elapsed = torch.tensor(time.monotonic() - self._started, dtype=torch.float64)
            broadcast(elapsed)  # all processes take the same decision
            if self.budget.look(self._iter, float(elapsed)):
                self._end_at(self.budget.end)
                if abs(self._max_iters - told) > told / 10:
                    told = self._max_iters
                    runner.logger.info(
                        f'By the pace of the machine, {told} iterations fit into the time: the '
                        'schedule follows.'
                    )
            runner.model.train()
            before = self.budget.done
            self.schedule_steps = self.budget.advance()
            state = dict(self.budget.state_dict(), elapsed=float(elapsed))
            runner.message_hub.update_info(_INFO, state)
            self.run_iter(next(batches))
            passed = self.budget.done // self.val_interval > before // self.val_interval
            if runner.val_loop is not None and (passed or self._iter == self._max_iters):
                start = time.monotonic()
                runner.val_loop.run()
                self._started += time.monotonic() - start
        runner.call_hook('after_train_epoch')
        runner.call_hook('after_train')
        return runner.model

    def _end_at(self, iters: int) -> None:
        self._max_iters = iters
        self.runner.message_hub.update_info('max_iters', iters)
        # the last gradients that are accumulated depend on it
        self.runner.optim_wrapper.initialize_count_status(self.runner.model, self._iter, iters)

    def _batches(self) -> Iterator[Any]:
        """Epochs one after another, from the batch that is next."""
        sampler, size = self.dataloader.sampler, self.dataloader.batch_size or 1
        endless = 'Infinite' in type(sampler).__name__
        epoch, first = (0, self._iter) if endless else divmod(self._iter, len(self.dataloader))
        while True:
            if hasattr(sampler, 'set_epoch'):
                sampler.set_epoch(epoch)  # type: ignore[attr-defined]
            if first and hasattr(sampler, 'skip'):
                sampler.skip(first * size)  # type: ignore[attr-defined]
                first = 0
            yield from islice(self.dataloader, first, None)
            epoch, first = epoch + 1, 0


@HOOKS.register_module()
class TimedSchedulerHook(ParamSchedulerHook):
    """Steps schedulers as often as ``TimedTrainLoop`` says; with other loops as mmengine's."""

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Step those that count iterations."""
        for _ in range(getattr(runner.train_loop, 'schedule_steps', 1)):
            super().after_train_iter(runner, batch_idx, data_batch, outputs)
