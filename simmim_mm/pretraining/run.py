"""Plan, time, write the config, train."""

import gc
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook

from simmim_mm.catalog import load_config
from simmim_mm.checkpoint.disk import require_space
from simmim_mm.checkpoint.file_backend import AtomicLocalBackend
from simmim_mm.engine.launch import adapt_dataloaders
from simmim_mm.engine.resume import choose_checkpoint
from simmim_mm.engine.run_lock import RunLock
from simmim_mm.engine.stop_request import StopRequest
from simmim_mm.engine.timed import TimedTrainLoop
from simmim_mm.engine.training import train
from simmim_mm.engine.watching import require_tracker, watch
from simmim_mm.evaluation.knn import load_split
from simmim_mm.experiments.run_report import write_run_report
from simmim_mm.pretraining.config_file import config_text, watching_text
from simmim_mm.pretraining.facts import Machine, look_at
from simmim_mm.pretraining.plan import (
    DEFAULT_MINUTES,
    Plan,
    PlanError,
    Wishes,
    default_out,
    describe,
    make_plan,
)
from simmim_mm.pretraining.start import NATIVE, Start, check_start, read_start
from simmim_mm.pretraining.timing import Timing, time_steps

CONFIG = 'pretrain.py'
_REPORTED = 8  # images that the report at the end looks at
_TIMING = 12.0  # seconds at most, and of a short training a twenty-fifth
_END = 5.0  # seconds for the checkpoint and the report that are written at the end
_CHECKPOINTS = 4  # that lie on the disk at once, the one being written included


def pretrain(
    folder: str | Path,
    wishes: Wishes | None = None,
    out: str | Path | None = None,
    channels: str | int | None = None,
    weights: str | Path | None = None,
    resume: bool = False,
    cfg_options: Mapping[str, Any] | None = None,
    report: Callable[[str], None] = lambda text: None,
    started: float | None = None,
    loggers: Sequence[str] = (),
    probe: str | Path | None = None,
) -> Path:
    """Pretrain a backbone on the images of a folder.

    Args:
        folder: Searched with its subfolders.
        wishes: What is not left to the plan.
        out: Work dir; None: ``work_dirs/NAME_OF_FOLDER``.
        channels: See ``LoadImage``; None: what the files have.
        weights: To start from, see :func:`~simmim_mm.pretraining.start.read_start`.
        resume: Continue what is in the work dir, as its config says.
        cfg_options: Settings of the config, by dotted key; they win.
        report: Takes the lines for the user.
        started: When the user's time began, by ``time.monotonic``; None: now.
        loggers: Trackers, see :data:`~simmim_mm.engine.watching.TRACKERS`.
        probe: Labeled images, see :class:`~simmim_mm.engine.hooks.ProbeHook`.

    Returns:
        The last checkpoint.

    Raises:
        DataError: If there are no images that can be trained on.
        PlanError: If there are too few, the wishes do not go together, or the work dir holds a run.
        DiskFull: If the checkpoints would not fit.
        TrackerError: If the packages of a tracker are not installed.
    """
    started = time.monotonic() if started is None else started
    wishes = wishes or Wishes()
    for name in loggers:
        require_tracker(name)
    if probe is not None:
        load_split(probe)  # to know now that it can be read
    watched = partial(watch, loggers=loggers, probe=probe)
    work_dir = Path(out) if out is not None else default_out(str(folder))
    path = work_dir / CONFIG
    if resume and not path.is_file():
        raise PlanError(f'--resume: {path} does not exist: start without --resume')
    require_space(work_dir)
    with StopRequest() as request, RunLock(work_dir):
        plan = planned = None
        if not resume:
            if path.exists() or (work_dir / 'last_checkpoint').exists():
                raise PlanError(
                    f'{work_dir} holds a run: continue it with --resume, or choose another --out'
                )
            with TemporaryDirectory() as temporary:
                start = None if weights is None else read_start(weights, temporary)
                plan = _planned(
                    folder, wishes, channels, start, cfg_options or {}, work_dir, report, started
                )
                if start is not None and start.file.name == NATIVE:
                    work_dir.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(start.file, work_dir / NATIVE)
                    plan = replace(plan, start=start._replace(file=(work_dir / NATIVE).absolute()))
            planned = time.monotonic()
            _write(path, plan, work_dir, cfg_options or {}, watched)
            report(f'config: {path} (simmim train {path})')
        while not _fits(path, work_dir, resume, request, watched, planned):
            if plan is None:
                raise PlanError(
                    f'out of memory: halve train_dataloader.batch_size and double '
                    f'optim_wrapper.accumulative_counts in {path}'
                )
            gc.collect()
            torch.cuda.empty_cache()
            plan = plan.halved()
            _write(path, plan, work_dir, cfg_options or {}, watched)
            report(_said(plan))
            # the time goes on; a number of iterations would mean another part of the training now
            resume = plan.epochs is not None and (work_dir / 'last_checkpoint').is_file()
        try:
            report(f'report: {write_run_report(work_dir, num_images=_REPORTED)}')
        except Exception as error:  # the training is done, whatever becomes of the page on it
            report(f'no report: {error}')
        return Path((work_dir / 'last_checkpoint').read_text().strip())


class _CountFrom(Hook):
    """Lets the time of a training begin when it was planned: the checks before it count."""

    def __init__(self, moment: float) -> None:
        self._moment = moment

    def before_train(self, runner: Any) -> None:
        """Tell the loop, if it keeps a time."""
        if isinstance(runner.train_loop, TimedTrainLoop):
            runner.train_loop.count_from(self._moment)


def _fits(
    path: Path,
    work_dir: Path,
    resume: bool,
    request: StopRequest,
    watched: Callable[[Config], None],
    planned: float | None,
) -> bool:
    """Train; False where memory ends, and nothing holds it any more."""
    cfg = load_config(path)
    cfg.launcher, cfg.work_dir = 'none', str(work_dir)
    watched(cfg)  # a run that is resumed may be watched in other ways than its config says
    adapt_dataloaders(cfg)
    notes = choose_checkpoint(cfg, 'auto' if resume else None)
    try:
        train(cfg, notes, request, [] if planned is None else [_CountFrom(planned)])
    except torch.OutOfMemoryError:
        return False
    return True


def _planned(
    folder: str | Path,
    wishes: Wishes,
    channels: str | int | None,
    start: Start | None,
    cfg_options: Mapping[str, Any],
    work_dir: Path,
    report: Callable[[str], None],
    started: float,
) -> Plan:
    machine = Machine.here()
    report(f'looking at the images of {folder}')
    plan = make_plan(look_at(folder, channels, machine.cores), machine, wishes, start)
    if start is not None:
        check_start(start, plan.arguments, len(plan.facts.mean))
    minutes = wishes.minutes
    if minutes is None and wishes.epochs is None:
        minutes = DEFAULT_MINUTES
    budget = (minutes or DEFAULT_MINUTES) * 60
    # where the length is given, it only says when the training will end
    seconds = min(_TIMING, budget / 25) if minutes else _TIMING / 4
    report('timing a few steps')
    plan, timing = _timed(plan, work_dir, cfg_options, seconds, report)
    if minutes is not None:
        if wishes.batch_size is None and plan.accumulate == 1:
            left = budget - (time.monotonic() - started) - _overhead(timing)
            smaller = plan.in_enough_steps(left, timing.seconds)
            if smaller.batch_size != plan.batch_size:  # an image of it takes longer: time it, too
                plan, timing = _timed(smaller, work_dir, cfg_options, seconds, report)
        left = budget - (time.monotonic() - started) - _overhead(timing)
        if left < 3 * timing.seconds:
            raise PlanError(
                f'--minutes {minutes:g} is too short: looking at the images and three steps take '
                f'{(budget - left + 3 * timing.seconds) / 60:.1f}'
            )
        plan = plan.lasting(left, timing.seconds)
    if timing.waiting > 1 / 3:
        plan.notes.append(
            f'{timing.waiting:.0%} of the time goes into waiting for images: smaller copies load '
            f'faster (simmim cache {folder} COPIES)'
        )
    require_space(work_dir, _CHECKPOINTS * timing.num_bytes, f'{_CHECKPOINTS} checkpoints')
    if plan.iters and plan.iters < plan.batches_per_epoch:
        plan.notes.append(
            f'only {plan.iters / plan.batches_per_epoch:.0%} of the images are seen, once: give '
            'more --minutes'
        )
    batches = plan.iters or (plan.epochs or 0) * plan.batches_per_epoch
    seconds = batches * timing.seconds + _overhead(timing)
    end = datetime.now() + timedelta(seconds=seconds)
    rows = describe(plan, f'{end:%H:%M:%S}, in {seconds / 60:.1f} minutes')
    width = max(len(value) for _, value, _ in rows) + 2
    for name, value, reason in rows:
        report(f'  {name:12}{value:{width}}{reason}'.rstrip())
    for note in plan.notes:
        report(f'  note: {note}')
    return plan


def _overhead(timing: Timing) -> float:
    """Seconds in which nothing is trained any more, or not yet."""
    return _END + 4 * timing.seconds


def _timed(
    plan: Plan,
    work_dir: Path,
    cfg_options: Mapping[str, Any],
    seconds: float,
    report: Callable[[str], None],
) -> tuple[Plan, Timing]:
    most = (plan.epochs or math.inf) * plan.batches_per_epoch
    while True:
        trial = plan if plan.epochs else plan.lasting(1.0, 1.0)
        cfg = _config(trial, work_dir, cfg_options)
        adapt_dataloaders(cfg)
        try:
            return plan, time_steps(cfg, seconds, most=most)
        except torch.OutOfMemoryError:
            plan = plan.halved()
        torch.cuda.empty_cache()
        report(_said(plan))


def _said(plan: Plan) -> str:
    return (
        f'out of memory: {plan.micro_batch} images at once from here on, the gradients of '
        f'{plan.accumulate} such batches are accumulated'
    )


def _config(plan: Plan, work_dir: Path, cfg_options: Mapping[str, Any]) -> Config:
    cfg = Config.fromstring(_text(plan, work_dir), '.py')
    cfg.merge_from_dict(dict(cfg_options))
    return cfg


def _text(plan: Plan, work_dir: Path) -> str:
    return config_text(plan, str(work_dir), plan.start and str(plan.start.file))


def _write(
    path: Path,
    plan: Plan,
    work_dir: Path,
    cfg_options: Mapping[str, Any],
    watched: Callable[[Config], None],
) -> None:
    """The short config; with settings of the user's, the whole one that holds them."""
    cfg = _config(plan, work_dir, cfg_options)
    backends, hooks = len(cfg.visualizer.vis_backends), len(cfg.custom_hooks)
    watched(cfg)
    if cfg_options:
        text = cfg.pretty_text
    else:
        added = cfg.visualizer.vis_backends[backends:], cfg.custom_hooks[hooks:]
        text = _text(plan, work_dir) + watching_text(*added)
    path.parent.mkdir(parents=True, exist_ok=True)
    AtomicLocalBackend().put_text(text, path)
