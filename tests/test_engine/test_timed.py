"""Training for a given time."""

import math
from types import SimpleNamespace

import pytest
import torch
from engine_toys import losses_of

from simmim_mm.engine import timed
from simmim_mm.engine.timed import TimeBudget

SECONDS, STEPS = 100.0, 1000


def spend(pace, budget=None):
    """Train by the clock of ``pace(elapsed)`` seconds an iteration: time, and steps of each."""
    budget = budget or TimeBudget(SECONDS, STEPS)
    elapsed, steps = 0.0, []
    while len(steps) < budget.end:
        budget.look(len(steps), elapsed)
        steps.append(budget.advance())
        elapsed += pace(elapsed)
    return elapsed, steps


@pytest.mark.parametrize('off', [0.98, 1.0, 1.02])
def test_plan_stays_while_the_pace_does(off):
    elapsed, steps = spend(lambda elapsed: off * SECONDS / STEPS)
    assert steps == [1] * STEPS
    assert elapsed == pytest.approx(off * SECONDS)


@pytest.mark.parametrize(
    'pace',
    [
        lambda elapsed: 0.2,  # half as fast as planned
        lambda elapsed: 0.04,
        lambda elapsed: 1.3,  # as a schedule for another machine
        lambda elapsed: 0.1 if elapsed < 50 else 0.3,  # another job begins in the middle
        lambda elapsed: 0.3 if 20 < elapsed < 60 else 0.1,
        lambda elapsed: 0.1 if elapsed < 90 else 0.25,
        lambda elapsed: 0.1 + 0.05 * math.sin(elapsed / 3),
        lambda elapsed: 5.0 if elapsed == 0 else 0.1,  # the first one is slow
    ],
)
def test_time_is_kept_and_the_schedule_ends_with_it(pace):
    elapsed, steps = spend(pace)
    assert abs(elapsed - SECONDS) <= 0.035 * SECONDS
    assert sum(steps) == STEPS


def test_schedule_passes_evenly_over_what_is_left():
    _, steps = spend(lambda elapsed: 0.1 if elapsed < 50 else 0.3)
    assert steps[:500] == [1] * 500
    assert set(steps[700:]) <= {2, 3, 4}


def test_machine_that_stood_still_until_after_the_end_ends_at_once():
    elapsed, steps = spend(lambda elapsed: 80.0 if 50 <= elapsed < 60 else 0.1)
    assert elapsed == pytest.approx(130, abs=0.3) and sum(steps) == STEPS


def test_no_more_than_planned_where_more_would_not_help():
    elapsed, steps = spend(lambda elapsed: 0.05, TimeBudget(SECONDS, STEPS, extend=False))
    assert steps == [1] * STEPS
    elapsed, steps = spend(lambda elapsed: 0.2, TimeBudget(SECONDS, STEPS, extend=False))
    assert elapsed == pytest.approx(SECONDS, rel=0.03) and sum(steps) == STEPS


def test_batches_in_parts_are_finished():
    budget = TimeBudget(SECONDS, STEPS, multiple=8)
    _, steps = spend(lambda elapsed: 0.27, budget)
    assert len(steps) % 8 == 0


@pytest.fixture
def make_timed(make_runner, monkeypatch):
    """Builds a runner whose clock ticks once each time that it is looked at."""

    def make(pace, **settings):
        clock = SimpleNamespace(now=0.0)

        def monotonic():
            clock.now += pace(clock.now)
            return clock.now

        monkeypatch.setattr(timed, 'time', SimpleNamespace(monotonic=monotonic))
        given = dict(
            train_cfg=dict(type='TimedTrainLoop', max_iters=40, seconds=40.0),
            param_scheduler=dict(type='CosineAnnealingLR', T_max=40, by_epoch=False),
            default_hooks=dict(
                param_scheduler=dict(type='TimedSchedulerHook'),
                checkpoint=dict(type='AtomicCheckpointHook', interval=1, by_epoch=False),
            ),
        )
        return make_runner(**{**given, **settings})

    return make


def rate(runner):
    return runner.optim_wrapper.param_groups[0]['lr']


def test_steady_machine_trains_as_by_iterations(make_timed):
    settings = dict(batch_size=1)  # one epoch of 20: mmengine's loop waits 2 s before another
    runner = make_timed(lambda now: 1.0, **settings)
    runner.train()
    ordinary = make_timed(
        lambda now: 1.0, train_cfg=dict(type='IterBasedTrainLoop', max_iters=40), **settings
    )
    ordinary.train()
    assert losses_of(runner) == losses_of(ordinary)
    assert runner.model.seen == ordinary.model.seen


def test_slower_machine_does_less_and_ends_at_the_end_of_the_schedule(make_timed):
    runner = make_timed(lambda now: 1.0 if now < 10 else 3.0)
    runner.train()
    assert 18 <= runner.iter <= 22  # ten, and ten in the thirty seconds that are left
    assert rate(runner) == pytest.approx(0.01 * (1 + math.cos(math.pi * 39 / 40)) / 2)
    assert runner.max_iters == runner.iter


def test_resumed_training_goes_on_with_plan_and_time(make_timed, tmp_path):
    """Also after the plan was changed, and in the middle of an epoch of five iterations."""
    pace = lambda now: 1.0 if now < 10 else 3.0  # noqa: E731
    whole = make_timed(pace, work_dir=tmp_path / 'a')
    whole.train()
    stopped = 18
    # from there on, the machine is as fast as it was at the end
    resumed = make_timed(lambda now: 3.0, work_dir=tmp_path / 'b')
    resumed.resume(str(tmp_path / 'a' / f'iter_{stopped}.pth'))
    resumed.train()
    assert resumed.iter == whole.iter
    assert resumed.model.seen == whole.model.seen[stopped:]
    assert losses_of(resumed) == losses_of(whole)
    for got, expected in zip(resumed.model.parameters(), whole.model.parameters()):
        assert torch.equal(got, expected)


def test_schedule_without_its_hook_is_refused(make_timed):
    runner = make_timed(lambda now: 1.0, default_hooks={})
    with pytest.raises(ValueError, match='TimedSchedulerHook'):
        runner.train()
