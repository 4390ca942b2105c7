"""Trials as jobs: of submitit's local executor, and of Ray where it is installed."""

import os
import signal
import threading
import time

import pytest
from trial_toys import check_one_fails_and_one_is_preempted

from simmim_mm.experiments.executors import Task, make_executor
from simmim_mm.experiments.executors.supervise import supervise


def test_a_job_that_is_preempted_goes_on_and_one_that_fails_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    pytest.importorskip('submitit', reason="needs submitit: pip install '.[cluster]'")
    executor = make_executor('submitit-local', tmp_path / 'submitit')
    check_one_fails_and_one_is_preempted(executor, tmp_path)


def test_a_task_of_ray_that_is_preempted_goes_on_and_one_that_fails_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    ray = pytest.importorskip('ray', reason="needs Ray: pip install '.[ray]'")
    try:
        executor = make_executor('ray', tmp_path, options={'address': 'local'})
        check_one_fails_and_one_is_preempted(executor, tmp_path)
    finally:
        ray.shutdown()


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGUSR2])
@pytest.mark.parametrize('code', [0, 3, 75])
def test_signals_of_a_cluster_ask_the_training_to_stop(tmp_path, number, code):
    script = f'trap "exit {code}" TERM; echo started; while :; do sleep 0.02; done'
    task = Task('a', ['sh', '-c', script], tmp_path, str(tmp_path))

    def ask():
        while not task.log.is_file() or not task.log.read_text():
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    thread = threading.Thread(target=ask)
    thread.start()
    assert supervise(task) == code
    thread.join()
    assert signal.getsignal(number) is before


def test_a_signal_before_the_training_has_started_is_not_lost(tmp_path, monkeypatch):
    launch = Task.launch

    def late(task, env, **kwargs):
        os.kill(os.getpid(), signal.SIGUSR1)
        return launch(task, env, **kwargs)

    monkeypatch.setattr(Task, 'launch', late)
    assert supervise(Task('a', ['sleep', '60'], tmp_path, str(tmp_path))) == 75


def test_a_training_that_takes_no_signals_yet_is_to_be_continued(tmp_path):
    task = Task('a', ['sh', '-c', 'kill -TERM $$'], tmp_path, str(tmp_path))
    assert supervise(task) == 75


@pytest.mark.parametrize(
    ('name', 'options', 'said'),
    [
        ('slurm', {}, 'needs a time limit: --executor-options timeout_min=MINUTES'),
        ('submitit-local', {'timeout_min': 0}, 'asked to stop 30 seconds before the end'),
        ('submitit-local', {'tasks_per_node': 2}, 'a training is one process; leave out tasks'),
        ('submitit-local', {'timeout_mins': 9}, 'timeout_mins'),
        ('local', {'timeout_min': 9}, 'are of a cluster: choose it with --executor'),
    ],
)
def test_options_that_do_not_fit_are_told_before_anything_runs(tmp_path, name, options, said):
    if name != 'local':
        pytest.importorskip('submitit', reason="needs submitit: pip install '.[cluster]'")
    with pytest.raises(ValueError, match=said) as caught:
        make_executor(name, tmp_path, options=options)
    assert '\n' not in str(caught.value)
