"""What a step of a training takes, before it begins."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from simmim_mm.registry import MODELS


class Timing(NamedTuple):
    """What was measured.

    Attributes:
        seconds: Of one batch, loading and training.
        waiting: Fraction of that in which the training waits for images.
        num_bytes: Of a checkpoint: weights, and the state of the optimizer.
    """

    seconds: float
    waiting: float
    num_bytes: int


def time_steps(
    cfg: Config,
    seconds: float,
    skip: int = 3,
    clock: Callable[[], float] = time.perf_counter,
    most: float = math.inf,
) -> Timing:
    """Train some batches, of a model that is thrown away.

    Args:
        cfg: Of the training.
        seconds: How long, without the start; at least three batches are timed, and one where they
            take long.
        skip: First batches, which are not timed; fewer where they take long.
        clock: Seconds; ``time.process_time`` on a machine that others use too, without workers.
        most: Batches to time, of a training that is as short itself; three are timed anyway.

    Raises:
        torch.OutOfMemoryError: If a batch does not fit.
    """
    with (
        DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'simmim_mm'),
        torch.random.fork_rng(),
    ):
        with quiet():
            model = MODELS.build(cfg.model)
            model.init_weights()
            model.to(get_device()).train()
            wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
        loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
        sampler: Any = loader.sampler
        size = sum(p.numel() * p.element_size() for p in model.state_dict().values())
        trained = sum(p.numel() * 4 for p in model.parameters() if p.requires_grad)
        wrapper.initialize_count_status(model, 0, 10**9)
        waited, steps, epoch = 0.0, -skip, 0
        begun = start = before = clock()
        while True:
            if hasattr(sampler, 'set_epoch'):
                sampler.set_epoch(epoch)
            epoch += 1
            for batch in loader:
                loaded = clock()
                model.train_step(batch, optim_wrapper=wrapper)
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                steps += 1
                now = clock()
                if steps <= 0 and (steps == 0 or now - begun > seconds):
                    steps, start, waited = 0, now, 0.0
                elif steps > 0:
                    waited += loaded - before
                before = now
                enough = 3 if now - begun < 3 * seconds else 1
                if steps >= enough and (now - start >= seconds or steps >= most):
                    took = now - start
                    return Timing(took / steps, waited / took, size + 2 * trained)


@contextmanager
def quiet() -> Iterator[None]:
    """Without mmengine's lines on each parameter, those on frozen ones being warnings."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
