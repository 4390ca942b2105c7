"""A training that is asked to stop leaves all of it behind, and goes on from there."""

import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from engine_toys import NoisyRegression, Numbers, losses_of
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import Hook

from simmim_mm.engine.hooks import PreemptionHook
from simmim_mm.engine.resume import find_resumable
from simmim_mm.engine.stop_request import SIGNALS, Stopped, StopRequest


class Signal(Hook):
    """Sends this process a signal at a moment of the training."""

    def __init__(self, moment: str, at: int, number: int = signal.SIGTERM) -> None:
        self.moment, self.at, self.number = moment, at, number

    def _now(self, moment: str, runner) -> None:
        if (moment, runner.iter) == (self.moment, self.at):
            os.kill(os.getpid(), self.number)

    def before_train(self, runner):
        self._now('start', runner)

    def before_train_iter(self, runner, *args, **kwargs):
        self._now('step', runner)

    def before_val(self, runner):
        self._now('before_val', runner)

    def before_val_iter(self, runner, *args, **kwargs):
        self._now('val', runner)


class SignalAll(Hook):
    """Sends the data loader's workers a signal, and then this process."""

    def before_train_iter(self, runner, *args, **kwargs):
        if runner.iter == 1:
            children = multiprocessing.active_children()
            assert len(children) == 2
            for process in [*(child.pid for child in children), os.getpid()]:
                os.kill(process, signal.SIGTERM)
                time.sleep(0.1)


class Count(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results.append(1)

    def compute_metrics(self, results):
        return dict(count=len(results))


class Model(NoisyRegression):
    def forward(self, inputs, index=None, mode='tensor'):
        losses = super().forward(inputs, index, mode)
        return [losses] if mode == 'predict' else losses


def _train(make_runner, hook=None, **settings):
    """One start of a training with the same command."""
    torch.manual_seed(0)
    runner = make_runner(Model(), **settings)
    runner.register_hook(hook or Hook())
    checkpoint, _ = find_resumable(runner.work_dir)
    if checkpoint:
        runner._load_from, runner._resume = checkpoint, True
    with StopRequest() as request:
        runner.register_hook(PreemptionHook(request))
        runner.train()
    return runner


def _validated(**loader):
    sampler = dict(type='ReproducibleSampler', shuffle=False, fixed=True)
    loader = dict(batch_size=4, num_workers=0, sampler=sampler, dataset=Numbers(), **loader)
    return dict(val_dataloader=loader, val_cfg={}, val_evaluator=Evaluator(Count(prefix='x')))


def _by_epoch(interval: int, **kwargs):
    hook = dict(type='AtomicCheckpointHook', interval=interval, by_epoch=True, **kwargs)
    return dict(default_hooks=dict(checkpoint=hook))


def _pth(folder):
    return sorted(name for name in os.listdir(folder) if name.endswith('.pth'))


@pytest.mark.parametrize('number', SIGNALS)
@pytest.mark.parametrize('moment, at', [('step', 0), ('step', 4), ('step', 14), ('val', 5)])
def test_stops_with_a_checkpoint_and_continues_to_the_last_bit(
    make_runner, tmp_path, number, moment, at
):
    """A checkpoint is due at the end only; the extra one goes when that is there."""
    settings = dict(max_epochs=3, **_by_epoch(3), **_validated())
    whole = _train(make_runner, work_dir=tmp_path / 'whole', **settings)
    former = [signal.getsignal(n) for n in SIGNALS]
    with pytest.raises(Stopped) as stopped:
        _train(make_runner, Signal(moment, at, number), **settings)
    assert stopped.value.code == 75
    assert [signal.getsignal(n) for n in SIGNALS] == former
    done = at + (moment == 'step')
    assert _pth(tmp_path / 'work') == [f'iter_{done}.pth']
    assert (
        torch.load(tmp_path / f'work/iter_{done}.pth', weights_only=False)['meta']['iter'] == done
    )

    resumed = _train(make_runner, **settings)
    assert losses_of(resumed) == losses_of(whole)
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], weight), name
    assert _pth(tmp_path / 'work') == ['epoch_3.pth']


def test_a_checkpoint_that_is_there_is_enough(make_runner, tmp_path):
    settings = dict(max_epochs=3, **_by_epoch(1), **_validated())
    for moment in ('before_val', 'val'):
        with pytest.raises(Stopped):
            _train(make_runner, Signal(moment, 5 if moment == 'before_val' else 10), **settings)
        assert not [name for name in _pth(tmp_path / 'work') if 'iter' in name]


def test_an_earlier_signal_ends_at_once(make_runner, tmp_path):
    with pytest.raises(Stopped):
        _train(make_runner, Signal('start', 0))
    assert _pth(tmp_path / 'work') == []


def test_in_a_thread_signals_are_left_alone():
    former = [signal.getsignal(number) for number in SIGNALS]
    with ThreadPoolExecutor(1) as threads:
        request = threads.submit(StopRequest().__enter__).result()
    assert [signal.getsignal(number) for number in SIGNALS] == former
    request.__exit__(None, None, None)


def test_gradients_are_accumulated_to_their_end(make_runner, tmp_path):
    optimizer = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
    with pytest.raises(Stopped):
        settings = dict(optim_wrapper=dict(optimizer, accumulative_counts=4), **_by_epoch(-1))
        _train(make_runner, Signal('step', 1), **settings)
    assert _pth(tmp_path / 'work') == ['iter_4.pth']


def test_where_an_epoch_cannot_be_continued_the_last_checkpoint_stays(make_runner, tmp_path):
    settings = dict(train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=3), **_by_epoch(1))
    with pytest.raises(Stopped):
        _train(make_runner, Signal('step', 7), **settings)
    assert _pth(tmp_path / 'work') == ['epoch_1.pth']


def test_killed_before_the_extra_checkpoint_was_deleted(make_runner, tmp_path):
    settings = dict(max_epochs=2, **_by_epoch(1))
    with pytest.raises(Stopped):
        _train(make_runner, Signal('step', 2), **settings)
    extra = (tmp_path / 'work/iter_3.pth').read_bytes()
    with pytest.raises(Stopped):
        _train(make_runner, Signal('step', 6), **settings)
    (tmp_path / 'work/iter_3.pth').write_bytes(extra)  # as if epoch_1.pth had been the last act
    (tmp_path / 'work/iter_7.pth').unlink()
    _train(make_runner, **settings)
    assert _pth(tmp_path / 'work') == ['epoch_1.pth', 'epoch_2.pth']


def test_stopped_again_and_again_one_extra_checkpoint_is_left(make_runner, tmp_path):
    """A job of two minutes left one for each, where the next regular one was far."""
    settings = dict(max_epochs=3, **_by_epoch(3))
    for at in (0, 6):
        with pytest.raises(Stopped):
            _train(make_runner, Signal('step', at), **settings)
        assert _pth(tmp_path / 'work') == [f'iter_{at + 1}.pth']
    (tmp_path / 'work/iter_1.pth').touch()  # as if killed before it was deleted
    _train(make_runner, **settings)
    assert _pth(tmp_path / 'work') == ['epoch_3.pth']


def test_killed_before_the_extra_checkpoint_of_the_same_iteration_was_deleted(
    make_runner, tmp_path
):
    with pytest.raises(Stopped):
        _train(make_runner, Signal('step', 4), max_epochs=2, **_by_epoch(1))
    extra = (tmp_path / 'work/iter_5.pth').read_bytes()
    with pytest.raises(Stopped):  # epoch_1.pth is there
        _train(make_runner, Signal('step', 5), max_epochs=2, **_by_epoch(1))
    assert _pth(tmp_path / 'work') == ['epoch_1.pth', 'iter_6.pth']
    (tmp_path / 'work/iter_6.pth').unlink()
    (tmp_path / 'work/iter_5.pth').write_bytes(extra)
    _train(make_runner, max_epochs=2, **_by_epoch(1))
    assert _pth(tmp_path / 'work') == ['epoch_1.pth', 'epoch_2.pth']


def test_processes_are_shielded_from_the_moment_they_are_to_be():
    """A loop of iterations makes its data loader before the training begins."""
    fork = multiprocessing.get_context('fork')
    with StopRequest() as request:
        before = fork.Process(target=time.sleep, args=(60,))
        before.start()
        request.shield()
        after = fork.Process(target=time.sleep, args=(60,))
        after.start()
        time.sleep(0.2)  # until they sleep
        for process in (before, after):
            process.terminate()
        before.join(10)
        assert (before.is_alive(), after.is_alive()) == (False, True)
        after.kill()
        after.join()


def test_image_loading_outlives_a_signal_to_all_processes(make_runner, tmp_path):
    """Slurm's goes to the workers too; those of PyTorch would end, and end the training."""
    sampler = dict(type='ReproducibleSampler')
    loader = dict(num_workers=2, batch_size=4, sampler=sampler, dataset=Numbers())
    with pytest.raises(Stopped):
        _train(make_runner, SignalAll(), train_dataloader=loader, **_by_epoch(1))
    assert _pth(tmp_path / 'work') == ['iter_2.pth']
