"""The schedule of a resumed training, and schedules that do not fit the training."""

import re

import pytest
from engine_toys import NoisyRegression, Numbers

COSINE = dict(type='CosineAnnealingLR', eta_min_ratio=0.01, begin=1, convert_to_iter_based=True)
WARMUP = dict(type='LinearLR', start_factor=0.1, end=3, by_epoch=False)
FULL_WARMUP = dict(type='simmim_mm.WarmupLR', start_factor=0.1, convert_to_iter_based=True)
THROUGH = dict(type='simmim_mm.CosineThroughWarmupLR', convert_to_iter_based=True)
STEPS = dict(type='MultiStepLR', milestones=[2, 3], gamma=0.1)


def _curve(epochs, kind='cosine'):
    decay = dict(cosine=dict(COSINE, end=epochs), steps=STEPS)[kind]
    return [dict(WARMUP), decay]


@pytest.fixture
def train(make_runner, tmp_path, monkeypatch):
    """Trains, and returns the rate of every iteration and the warnings."""

    def train(name, epochs, schedule, resume=None, lr=0.01, **settings):
        runner = make_runner(
            NoisyRegression(),
            work_dir=tmp_path / name,
            max_epochs=epochs,
            param_scheduler=schedule,
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=lr)),
            hooks=[dict(type='ScheduleHook')],
            resume=bool(resume),
            load_from=resume and str(tmp_path / resume),
            **settings,
        )
        told = []
        monkeypatch.setattr(runner.logger, 'warning', told.append)
        runner.train()
        told = [line for line in told if re.search('schedule|Nothing is left', line)]
        return runner.message_hub.get_scalar('train/lr').data[0].tolist(), told

    return train


@pytest.mark.parametrize('kind', ['cosine', 'steps'])
@pytest.mark.parametrize('checkpoint', ['iter_10', 'iter_8'])
def test_more_epochs_follow_the_schedule_of_the_config(train, kind, checkpoint):
    whole, told = train('whole', 5, _curve(5, kind))
    assert not told
    train('short', 2, _curve(2, kind))
    rates, told = train('short', 5, _curve(5, kind), resume=f'short/{checkpoint}.pth')
    done = int(checkpoint[5:])
    assert rates[done:] == pytest.approx(whole[done:], rel=1e-12)
    if kind == 'cosine':
        assert len(told) == 1 and 'param_scheduler.1.end 10 -> 25 iterations' in told[0]
        assert f'The learning rate is {whole[done]:.4g}' in told[0]


def test_an_unchanged_schedule_is_resumed_without_a_word(train):
    whole, _ = train('run', 2, _curve(2))
    rates, told = train('run', 2, _curve(2), resume='run/iter_7.pth')
    assert rates == whole and not told


def test_another_base_rate_is_taken(train):
    train('run', 3, _curve(3))
    whole, _ = train('other', 3, _curve(3), lr=0.02)
    rates, told = train('run', 3, _curve(3), lr=0.02, resume='run/iter_10.pth')
    assert rates[10:] == pytest.approx(whole[10:])
    assert 'base_values 0.01 -> 0.02' in told[0]


def test_smaller_batches_go_on_at_the_same_place(train):
    train('run', 4, _curve(4))
    whole, _ = train('other', 4, _curve(4), train_dataloader=_loader(batch_size=2))
    rates, _ = train(
        'run', 4, _curve(4), resume='run/iter_10.pth', train_dataloader=_loader(batch_size=2)
    )
    assert rates[10:] == pytest.approx(whole[20:])  # ten iterations count as twenty now


def _loader(batch_size):
    sampler = dict(type='ReproducibleSampler', shuffle=True)
    return dict(batch_size=batch_size, num_workers=0, sampler=sampler, dataset=Numbers())


def test_a_finished_training_is_told(train):
    train('run', 2, _curve(2), default_hooks=dict(checkpoint=dict(type='AtomicCheckpointHook')))
    rates, told = train('run', 2, _curve(2), resume='run/epoch_2.pth')
    assert len(rates) == 10
    assert len(told) == 1 and '2 epochs of 2' in told[0] and '--resume --epochs N' in told[0]


@pytest.mark.parametrize(
    ('schedule', 'message'),
    [
        ([dict(COSINE, end=9, T_max=8)], r'0\.T_max .* lasts to 9 epochs, the training 2'),
        ([dict(WARMUP, end=12)], r'param_scheduler.0.end \(LinearLR\) lasts to 2.4 epochs'),
        ([dict(STEPS, milestones=[1, 6])], r'param_scheduler.0.milestones .* lasts to 6 epochs'),
        ([dict(COSINE, begin=0, end=1)], r'lasts 1 epochs, the training 2: the rest'),
        (
            [dict(FULL_WARMUP, end=2), dict(THROUGH, begin=0, end=2, T_max=2)],
            r'param_scheduler.0 warms up to 2 epochs, but param_scheduler.1 begins at 0 and',
        ),
        ([dict(COSINE, begin=0, end=2, T_max=1)], r'T_max .* ends at 1 epochs.* rises again'),
    ],
)
def test_schedules_that_do_not_fit_are_named(train, schedule, message):
    _, told = train('run', 2, schedule)
    assert len(told) == 1 and re.search(message, told[0])
