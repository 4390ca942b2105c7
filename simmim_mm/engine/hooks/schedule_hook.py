import math
import warnings
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.optim.scheduler.param_scheduler import INF
from mmengine.runner import EpochBasedTrainLoop

from simmim_mm.engine.schedulers import CosineThroughWarmupLR, WarmupLR
from simmim_mm.registry import HOOKS

# What a scheduler counts, beside its settings.
_COUNTERS = ('last_step', '_global_step', '_last_value', 'verbose')
_LENGTHS = ('T_max', 'begin', 'end', 'step_size')
_OPTIMIZER = ('weight_decay', 'betas')
_MAX_GROUPS = 6  # in a table


@HOOKS.register_module()
class ScheduleHook(Hook):
    """Holds the schedule of the learning rate against the length of the training.

    - A resumed training follows the settings of its config. mmengine takes those of schedulers and
      optimizer from the checkpoint, so that a training that is resumed with more epochs stays at
      the rate at which the old schedule ended. Where they differ, the schedulers are brought from
      their beginning to the step that the training has reached, and the log says so.
    - A schedule that does not fit the length of the training is warned of, by its setting.
    - Resuming a finished training is warned of.
    - The images of each step of the optimizer are logged, and a table of its parameters.
    """

    # Before the hooks that log the rate.
    priority = 'VERY_HIGH'

    def before_run(self, runner: Any) -> None:
        """Note what the config asks for, before a checkpoint takes its place."""
        self._states = deepcopy([scheduler.state_dict() for scheduler in _schedulers(runner)])
        self._groups = deepcopy(_groups(runner))

    def before_train(self, runner: Any) -> None:
        """Compare it with what the checkpoint has brought, and with the length of the training."""
        loop: Any = runner.train_loop
        unit = 'epochs' if isinstance(loop, EpochBasedTrainLoop) else 'iters'
        done, length = (
            (loop.epoch, loop.max_epochs) if unit == 'epochs' else (loop.iter, loop.max_iters)
        )
        if done >= length:
            runner.logger.warning(
                f'Nothing is left to train: the checkpoint is of the end of the training, {done} '
                f'{unit} of {length}. To train longer: --resume --{unit} N, which also stretches '
                'the schedule.'
            )
            return
        if loop.iter:
            self._follow_config(runner)
        for line in _misfits(runner):
            runner.logger.warning(line)
        _log_batch(runner)
        _log_parameters(runner)

    def _follow_config(self, runner: Any) -> None:
        schedulers, groups = _schedulers(runner), runner.optim_wrapper.param_groups
        changed = self._changes(runner)
        if not changed or any(hasattr(s, 'need_val_args') for s in schedulers):  # ReduceOnPlateau
            return
        before = groups[-1]['lr']
        for group, planned in zip(groups, self._groups):
            group.update(deepcopy(planned))
        for scheduler, state in zip(schedulers, self._states):
            scheduler.load_state_dict(deepcopy(state))
        _replay(runner)
        runner.logger.warning(
            "From here on the schedule of the config takes the place of the checkpoint's: "
            f'{"; ".join(changed)}. The learning rate is {groups[-1]["lr"]:.4g} (by the '
            f'checkpoint {before:.4g}).'
        )

    def _changes(self, runner: Any) -> list[str]:
        """Settings that differ from those of the checkpoint, from there to here."""
        found = []
        for i, (scheduler, planned) in enumerate(zip(_schedulers(runner), self._states)):
            state = scheduler.state_dict()
            for key in sorted(planned.keys() - set(_COUNTERS)):
                if not _equal(state.get(key), planned[key]):
                    unit = 'epochs' if scheduler.by_epoch else 'iterations'  # as converted
                    unit = f' {unit}' if key in _LENGTHS else ''
                    found.append(
                        f'param_scheduler.{i}.{key} {_short(state.get(key), planned[key])}{unit}'
                    )
        keys = _OPTIMIZER if self._states else ('lr', *_OPTIMIZER)
        for key in keys:
            old, new = ([g.get(key) for g in groups] for groups in (_groups(runner), self._groups))
            if not _equal(old, new):
                found.append(f'optimizer.{key} {_short(old, new)}')
        return found


def _schedulers(runner: Any) -> list:
    found = runner.param_schedulers
    return found if isinstance(found, list) else []  # a dict: of several optimizers


def _groups(runner: Any) -> list[dict]:
    """Settings of the parameter groups, without the parameters."""
    if isinstance(runner.optim_wrapper, OptimWrapperDict):
        return []
    groups = runner.optim_wrapper.param_groups
    return [{k: v for k, v in group.items() if k != 'params'} for group in groups]


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-9)
    return a == b


def _short(old: Any, new: Any) -> str:
    """Both values; of lists over parameter groups, those of the last one, the heads'."""
    old, new = (v[-1] if isinstance(v, list) and v else v for v in (old, new))
    return f'{old} -> {new}'


def _replay(runner: Any) -> None:
    """Step fresh schedulers as often as the training has."""
    loop: Any = runner.train_loop
    epochs, done = 0, getattr(loop, 'schedule_done', loop.iter)
    length = len(loop.dataloader) if isinstance(loop, EpochBasedTrainLoop) else 0
    if length:  # by epochs: the data, and so the iterations of an epoch, may be others now
        epochs, done = loop.epoch, loop.epoch * length + getattr(loop, '_first_batch', 0)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # the optimizer has not stepped yet
        for step in range(1, done + 1):
            for scheduler in _schedulers(runner):
                if not scheduler.by_epoch:
                    scheduler.step()
            if length and step % length == 0 and step // length <= epochs:
                for scheduler in _schedulers(runner):
                    if scheduler.by_epoch:
                        scheduler.step()


def _num_steps(loop: Any) -> int:
    """What schedules are laid out for; a ``TimedTrainLoop`` does other iterations."""
    return getattr(loop, 'schedule_length', loop.max_iters)


def _misfits(runner: Any) -> Iterator[str]:
    """A line for each schedule that ends elsewhere than the training."""
    loop: Any = runner.train_loop
    by_epoch = isinstance(loop, EpochBasedTrainLoop)
    unit = 'epochs' if by_epoch else 'iters'
    last, decays = 0.0, False
    for i, scheduler in enumerate(_schedulers(runner)):
        # in epochs where the training counts them
        scale = 1 / len(loop.dataloader) if by_epoch and not scheduler.by_epoch else 1
        length = loop.max_epochs if by_epoch else _num_steps(loop)
        end = scheduler.end - isinstance(scheduler, WarmupLR)
        if end >= INF or (scheduler.by_epoch and not by_epoch):
            continue
        name, reaches = 'end', end
        if hasattr(scheduler, 'T_max'):
            begin = 0 if isinstance(scheduler, CosineThroughWarmupLR) else scheduler.begin
            name, reaches = 'T_max', begin + scheduler.T_max
        elif hasattr(scheduler, 'milestones'):
            name, reaches = 'milestones', scheduler.begin + max(scheduler.milestones, default=0)
        decay = hasattr(scheduler, 'T_max') or hasattr(scheduler, 'power')
        decays |= decay
        last = max(last, end * scale)
        where = f'param_scheduler.{i}.{name} ({type(scheduler).__name__})'
        if reaches * scale > length + 0.5 * scale:
            yield (
                f'{where} lasts to {reaches * scale:g} {unit}, the training {length}: the learning '
                f'rate does not get to its end. --{unit} N sets both.'
            )
        elif decay and reaches + 1 < min(end, length / scale):
            yield (
                f'{where} ends at {reaches * scale:g} {unit}, the training at {length}: after it '
                f'the learning rate rises again. --{unit} N sets both.'
            )
    yield from _lost_warmups(runner)
    length = loop.max_epochs if by_epoch else _num_steps(loop)
    if decays and last < length - 1e-6:
        yield (
            f'The schedule of the learning rate (end of param_scheduler) lasts {last:g} {unit}, '
            f'the training {length}: the rest runs at the last rate. --{unit} N sets both.'
        )


def _lost_warmups(runner: Any) -> Iterator[str]:
    """A line for each warm-up during which a later schedule acts, which then decides alone."""
    loop: Any = runner.train_loop
    by_epoch = isinstance(loop, EpochBasedTrainLoop)
    unit, length = ('epochs', len(loop.dataloader)) if by_epoch else ('iters', 1)
    schedulers = [s for s in _schedulers(runner) if not (by_epoch and s.by_epoch)]
    for i, (warmup, following) in enumerate(zip(schedulers, schedulers[1:])):
        if not isinstance(warmup, WarmupLR) or not isinstance(following, CosineThroughWarmupLR):
            continue
        end = warmup.end - 1
        if end - following.begin > length:
            yield (
                f'param_scheduler.{i} warms up to {end / length:g} {unit}, but '
                f'param_scheduler.{i + 1} begins at {following.begin / length:g} and decides alone '
                'from there on: set its begin to the end of the warm-up.'
            )


def _log_batch(runner: Any) -> None:
    batch = (runner.cfg.get('train_dataloader') or {}).get('batch_size')
    if not batch:
        return
    processes = get_world_size()
    counts = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
    text = f'{batch} images'
    text += f' x {processes} processes' if processes > 1 else ''
    text += f' x {counts} accumulated' if counts > 1 else ''
    total = batch * processes * counts
    images = len(runner.train_dataloader.dataset)
    if (
        images < batch * processes
        and 'Infinite' not in type(runner.train_dataloader.sampler).__name__
    ):
        runner.logger.warning(
            f'{images} images are fewer than a batch of {batch * processes}: an epoch is one step '
            'on all of them. --batch-size sets the batch.'
        )
    runner.logger.info(
        'Effective batch, of one step of the optimizer: '
        + (text if total == batch else f'{text} = {total} images')
    )


def _log_parameters(runner: Any) -> None:
    """A line for all parameters of the same rate and weight decay."""
    groups = Counter()
    tensors = Counter()
    if isinstance(runner.optim_wrapper, OptimWrapperDict):
        return
    for group in runner.optim_wrapper.param_groups:
        key = group.get('initial_lr', group['lr']), group.get('weight_decay', 0.0)
        trained = [p for p in group['params'] if p.requires_grad]
        groups[key] += sum(p.numel() for p in trained)
        tensors[key] += len(trained)
    lines = [f'{"rate":>10}{"weight decay":>15}{"tensors":>10}{"parameters":>13}']
    for (rate, decay), number in sorted(groups.items(), reverse=True):
        lines.append(f'{rate:10.3g}{decay:15.3g}{tensors[rate, decay]:10,}{number:13,}')
    frozen = sum(p.numel() for p in runner.model.parameters() if not p.requires_grad)
    if frozen:
        lines.append(f'{"frozen":>35}{frozen:13,}')
    if len(groups) <= _MAX_GROUPS:  # layer by layer, the constructor has said it
        runner.logger.info('Parameters:\n' + '\n'.join(lines))
