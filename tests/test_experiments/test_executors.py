"""Trials as jobs: of submitit's local executor, and of Ray where it is installed."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from mmengine.config import Config
from trial_toys import FAKE_TRAIN

from simmim_mm.experiments import Trial, run_trials
from simmim_mm.experiments.executors import Task, make_executor
from simmim_mm.experiments.executors.supervise import supervise


def _trial(name, **settings) -> Trial:
    cfg = Config(dict(dict(train_cfg=dict(max_iters=4), gain=2.0), **settings))
    return Trial(name, cfg, 'accuracy/top1')


def _preempt(runs: Path) -> None:
    """Ask the process above the training that waits in its second iteration to stop."""
    while not (found := list(runs.glob('preempted*/iter_2.pth'))):
        time.sleep(0.02)
    folder = found[0].parent
    (folder / 'go').touch()
    stat = Path('/proc', (folder / 'pid').read_text(), 'stat').read_text()
    os.kill(int(stat.rpartition(')')[2].split()[1]), signal.SIGTERM)


def _check_one_fails_and_one_is_preempted(executor, folder: Path) -> None:
    (folder / 'fake.py').write_text(FAKE_TRAIN)
    trials = [_trial('bad', fail='told'), _trial('preempted', wait_at=2)]
    command, lines = [sys.executable, str(folder / 'fake.py')], []
    thread = threading.Thread(target=_preempt, args=[folder / 'runs'])
    thread.start()
    bad, good = run_trials(trials, folder / 'runs', command, 1, lines.append, executor)
    thread.join()
    assert bad.value is None and 'learning rate too blue' in str(bad.error)
    assert good.value == 2.0 and (good.work_dir / 'result.json').is_file()
    assert (good.work_dir / 'calls.txt').read_text().split() == ['1', '1']  # threads of each start
    logs = [path.read_text() for path in sorted(good.work_dir.rglob('scalars.json'))]
    assert [json.loads(line)['step'] for line in ''.join(logs).splitlines()] == [1, 2, 3, 4, 4]


def test_a_job_that_is_preempted_goes_on_and_one_that_fails_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    pytest.importorskip('submitit', reason="needs submitit: pip install '.[cluster]'")
    executor = make_executor('submitit-local', tmp_path / 'submitit')
    _check_one_fails_and_one_is_preempted(executor, tmp_path)


def test_a_task_of_ray_that_is_preempted_goes_on_and_one_that_fails_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    ray = pytest.importorskip('ray', reason="needs Ray: pip install '.[ray]'")
    try:
        executor = make_executor('ray', tmp_path, options={'address': 'local'})
        _check_one_fails_and_one_is_preempted(executor, tmp_path)
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
