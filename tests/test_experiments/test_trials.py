"""Trials run once, go on after an interruption, and fail alone."""

import csv
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image
from trial_toys import FAKE_TRAIN

from simmim_mm.experiments import Outcome, Trial, fingerprint, run_trials
from simmim_mm.experiments.compare import Start, conclude
from simmim_mm.experiments.report import pair, summarize, text_table, trial_rows, verdict

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(tmp_path):
    """Runs trials with the fake script; tells what was reported."""
    (tmp_path / 'fake.py').write_text(FAKE_TRAIN)

    def call(*trials, jobs=1):
        lines = []
        command = [sys.executable, str(tmp_path / 'fake.py')]
        outcomes = run_trials(trials, tmp_path / 'runs', command, jobs, lines.append)
        return outcomes, lines

    return call


def _trial(name='a', seed=0, data='', absent=None, gain=2.0, **settings) -> Trial:
    cfg = Config(dict(dict(train_cfg=dict(max_iters=4), gain=gain), **settings))
    return Trial(name, cfg, 'accuracy/top1', seed, data=data, absent=absent)


def _calls(outcome: Outcome) -> int:
    return len((outcome.work_dir / 'calls.txt').read_text().split())


def test_values_come_from_the_last_validation_and_are_kept(run):
    outcomes, lines = run(_trial(seed=0), _trial(seed=1))
    assert [x.value for x in outcomes] == [2.0, 4.0]
    assert outcomes[0].scalars == {'accuracy/top1': 2.0, 'other': 5.0}
    assert 'a, seed 1: accuracy/top1 4' in lines[-1] and lines[-1].startswith('[2/2]')

    again, lines = run(_trial(seed=0), _trial(seed=1))
    assert [x.value for x in again] == [2.0, 4.0] and all(x.cached for x in again)
    assert [_calls(x) for x in again] == [1, 1]
    assert all('finished before' in line for line in lines)


def test_what_a_kill_leaves_behind_the_result_is_removed(run):
    (outcome,), _ = run(_trial())
    before = sorted(path.name for path in outcome.work_dir.iterdir())
    (outcome.work_dir / '.lock').write_text(json.dumps(dict(pid=1, host=socket.gethostname())))
    (outcome.work_dir / 'job.json').write_text('{}')
    (again,), _ = run(_trial())
    assert again.cached
    assert sorted(path.name for path in outcome.work_dir.iterdir()) == before


def test_a_config_of_others_in_the_folder_of_a_trial_does_not_run(run):
    (outcome,), _ = run(_trial())
    config, result = (outcome.work_dir / name for name in ('config.py', 'result.json'))
    own = config.read_text()
    config.write_text("import os\nos.mkdir('trace')\n")
    result.unlink()
    run(_trial())
    assert config.read_text() == own and result.is_file()


def test_a_change_of_config_seed_figure_or_data_is_another_trial(tmp_path):
    def key(trial):
        return trial.key(trial.build_config())

    base = key(_trial())
    assert key(_trial()) == base
    others = [_trial(lr=1), _trial(seed=1), _trial(data='x')]
    others.append(Trial('a', _trial().config, 'other'))
    others.append(Trial('a', _trial().config, 'accuracy/top1', overrides={'train_cfg.by': 1}))
    assert len({base, *map(key, others)}) == 6


def test_fingerprint_sees_contents_of_files_and_entries_of_folders(tmp_path):
    (tmp_path / 'images' / 'cat').mkdir(parents=True)
    image, labels = tmp_path / 'images' / 'cat' / '0.png', tmp_path / 'labels.json'
    image.write_text('0')
    labels.write_text('{}')
    seen = {fingerprint([tmp_path / 'images', labels])}
    assert fingerprint([tmp_path / 'images', labels]) in seen
    os.utime(labels)  # not its time
    assert fingerprint([tmp_path / 'images', labels]) in seen
    labels.write_text('[]')
    seen.add(fingerprint([tmp_path / 'images', labels]))
    image.with_name('1.png').write_text('')
    seen.add(fingerprint([tmp_path / 'images', labels]))
    image.write_text('00')
    seen.add(fingerprint([tmp_path / 'images', labels]))
    assert len(seen) == 4
    with pytest.raises(FileNotFoundError, match='none'):
        fingerprint([tmp_path / 'none.json'])


def test_fingerprint_of_links_in_circles(tmp_path):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a' / '0.png').write_text('0')
    for name in ('up', 'again'):  # by two ways, twice as many at each level
        (tmp_path / 'a' / name).symlink_to(tmp_path)
    (tmp_path / 'itself').symlink_to(tmp_path / 'itself')
    (tmp_path / 'gone').symlink_to(tmp_path / 'nowhere')
    seen = fingerprint([tmp_path])
    assert fingerprint([tmp_path]) == seen
    (tmp_path / 'a' / '0.png').write_text('00')
    assert fingerprint([tmp_path]) != seen


@pytest.mark.parametrize(('kind', 'told'), [('told', 'learning rate too blue'), ('x', 'boom')])
def test_a_failing_trial_is_told_and_tried_again_and_costs_no_other(run, kind, told):
    outcomes, lines = run(_trial('bad', fail=kind), _trial('good'))
    assert outcomes[0].value is None and told in outcomes[0].error
    assert ('some' in outcomes[0].error) == (kind != 'told')
    assert any('FAILED' in line and told in line for line in lines)
    assert outcomes[1].value == 2.0
    again, _ = run(_trial('bad', fail=kind), _trial('good'))
    assert [_calls(x) for x in again] == [2, 1]


def test_a_missing_figure_is_a_failure_unless_it_has_a_value(run):
    (outcome,), _ = run(_trial(validates=False))
    assert (
        'no validation gave a finite accuracy/top1; it wrote data_time, iter, loss' in outcome.error
    )
    (outcome,), _ = run(_trial(validates=False, absent=0.0))
    assert outcome.value == 0.0


def test_a_metric_of_nothing_to_score_is_no_result(run):
    cfg = Config(dict(train_cfg=dict(max_iters=4), gain=-1.0, metric='coco/bbox_mAP'))
    trial = Trial('a', cfg, 'coco/bbox_mAP', absent=0.0)
    (outcome,), _ = run(trial)
    assert outcome.value is None and 'coco/bbox_mAP is -1: the validation' in outcome.error
    assert _calls(outcome) == 1
    # one that an earlier version took for a result
    key = trial.key(trial.build_config())
    result = dict(key=key, value=-1.0, seconds=1.0, scalars={})
    (outcome.work_dir / 'result.json').write_text(json.dumps(result))
    (outcome,), _ = run(trial)
    assert outcome.value is None and not outcome.cached
    (outcome,), _ = run(_trial(gain=-1.0))  # of other metrics, it is a number like others
    assert outcome.value == -1.0


def test_a_metric_that_is_not_a_number_is_a_failure(run):
    (outcome,), lines = run(_trial(gain='nan'))
    assert outcome.value is None and 'no validation gave a finite' in outcome.error
    assert any('FAILED' in line for line in lines)


def test_a_run_killed_before_its_last_validation_is_validated_after_all(run):
    (outcome,), _ = run(_trial())
    (outcome.work_dir / 'result.json').unlink()
    (again,), _ = run(_trial())  # resumes at the end: there is nothing to train
    assert again.value == 2.0 and not again.cached
    assert _calls(again) == 3


def test_equal_trials_are_refused(run):
    with pytest.raises(ValueError, match='two trials are equal'):
        run(_trial(), _trial())


def test_several_at_a_time_share_the_cores(run, monkeypatch):
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
    outcomes, _ = run(*(_trial(seed=seed) for seed in range(5)), jobs=2)
    assert [x.value for x in outcomes] == [2.0, 4.0, 6.0, 8.0, 10.0]
    share = max(1, len(os.sched_getaffinity(0)) // 2)
    assert {(x.work_dir / 'calls.txt').read_text().strip() for x in outcomes} == {str(share)}


CALL = """
import os, pathlib, signal, sys
from mmengine.config import Config
from simmim_mm.experiments import Trial, run_trials
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
pathlib.Path('own_pid').write_text(str(os.getpid()))
cfg = Config(dict(train_cfg=dict(max_iters=4), gain=2.0, wait_at=2))
run_trials([Trial('a', cfg, 'accuracy/top1')], 'runs', [sys.executable, 'fake.py'])
"""


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_call_goes_on_where_it_was(run, tmp_path, number, python):
    (tmp_path / 'call.py').write_text(CALL)
    env = dict(os.environ, PYTHONPATH=str(ROOT))
    call = subprocess.Popen([python, 'call.py'], cwd=tmp_path, env=env)
    deadline = time.time() + 60
    while not list(tmp_path.glob('runs/*/iter_2.pth')) and time.time() < deadline:
        time.sleep(0.05)
    (work_dir,) = (tmp_path / 'runs').iterdir()
    os.kill(int((tmp_path / 'own_pid').read_text()), number)
    call.wait()

    (work_dir / 'go').touch()
    if number == signal.SIGKILL:  # the training itself is still alive, and must not get a twin
        with pytest.raises(ValueError, match='is in use'):
            run(_trial(wait_at=2))
        os.kill(int((work_dir / 'pid').read_text()), signal.SIGKILL)
        time.sleep(0.2)
    (outcome,), lines = run(_trial(wait_at=2))
    assert outcome.value == 2.0 and outcome.work_dir == work_dir
    assert 'continues at 50%' in lines[0]
    logs = [path.read_text() for path in sorted(work_dir.rglob('scalars.json'))]
    steps = [json.loads(line)['step'] for line in ''.join(logs).splitlines()]
    assert steps == [1, 2, 3, 4, 4]  # the last one is the validation


def test_a_folder_in_use_leaves_the_others_free(run, tmp_path):
    first, second = _trial(), _trial(seed=1)
    folders = [tmp_path / 'runs' / t.folder_name(t.key(t.build_config())) for t in (first, second)]
    folders[1].mkdir(parents=True)
    with open(folders[1] / '.lock', 'a') as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match='is in use') as caught:
            run(first, second)
    assert not folders[0].exists()  # while the error, and its frames, are alive
    assert str(folders[1]) in str(caught.value)
    assert [x.value for x in run(first, second)[0]] == [2.0, 4.0]


def _outcome(name, value, seconds=60.0, seed=0) -> Outcome:
    trial = Trial(name, Config(), 'f', seed)
    if value is None:
        return Outcome(trial, Path('x'), error='boom')
    return Outcome(trial, Path('x'), value, seconds, {'f': value})


def test_mean_deviation_and_time_are_numpys():
    values = np.random.default_rng(0).normal(50, 3, 5)
    outcomes = [_outcome('a', v, 60.0 * i, i) for i, v in enumerate(values)]
    outcomes += [_outcome('b', 1.5), _outcome('b', None, seed=1), _outcome('c', None)]
    rows = summarize(outcomes)
    assert list(rows) == ['a', 'b', 'c']
    assert rows['a']['mean'] == pytest.approx(np.mean(values))
    assert rows['a']['sd'] == pytest.approx(np.std(values, ddof=1))
    assert rows['a']['minutes'] == pytest.approx(2.0)
    assert rows['b'] == dict(seeds=1, mean=1.5, sd=None, minutes=1.0)
    assert rows['c'] == dict(seeds=0, mean=None, sd=None, minutes=None)
    text = text_table([dict(name=name, **row) for name, row in rows.items()])
    assert text.splitlines()[-1].split() == ['c', '0', '-', '-', '-']
    assert [row['f'] for row in trial_rows(outcomes)][-1] is None


@pytest.mark.parametrize(
    ('values', 'told'),
    [
        ([10.0, 12.0], '1 better than from scratch (95% interval 1 to 1, 2 seeds).'),
        ([10.0, 13.0], 'no difference is shown; take --seeds 3 or more'),
        ([14.0, 16.1, 19.0], '5.03 better than from scratch (95% interval 4.89 to 5.18, 3 seeds).'),
        ([4.0, 6.1, 9.0], '4.97 worse than from scratch (95% interval -5.11 to -4.82, 3 seeds).'),
        ([9.0, 11.0], 'exactly as good'),
        ([11.0], 'from one seed'),
        ([9.0], 'as good as from scratch, from one seed'),
        ([None], 'nothing to compare'),
    ],
)
def test_the_verdict_is_about_the_difference_of_each_seed(values, told):
    outcomes = [_outcome('s', v, seed=i) for i, v in enumerate([9.0, 11.0, 14.0])]
    outcomes += [_outcome('p', v, seed=i) for i, v in enumerate(values)]
    assert told in verdict(pair(outcomes, 'p', 's'), 'p')


def test_the_interval_is_that_of_a_paired_t_test():
    rng = np.random.default_rng(0)
    level, gain = rng.normal(50, 10, 6), rng.normal(1, 1, 6)  # seeds differ more than starts
    outcomes = [_outcome('s', v, seed=i) for i, v in enumerate(level)]
    outcomes += [_outcome('p', v, seed=i) for i, v in enumerate(level + gain)]
    found = pair(outcomes, 'p', 's')
    half = 2.570582 * gain.std(ddof=1) / 6**0.5  # the 0.975 quantile of five degrees of freedom
    assert found.difference == pytest.approx(gain.mean())
    assert (found.low, found.high) == pytest.approx((gain.mean() - half, gain.mean() + half))


def test_two_starts_that_learned_nothing_are_not_called_equal():
    outcomes = [_outcome(name, 0.0, seed=i) for name in 'sp' for i in range(2)]
    assert 'nothing was learned' in verdict(pair(outcomes, 'p', 's'), 'p')


def test_fractions_of_the_labels_become_a_curve(tmp_path):
    starts = [Start('from scratch', {}, None, 'from scratch'), Start('p', {}, 'a', 'from scratch')]
    starts = [start.at_share(share) for share in (0.1, 1) for start in starts]
    outcomes = [
        _outcome(start.name, 10.0 * start.label_share + i + 5 * (start.plain_name == 'p'), seed=i)
        for start in starts
        for i in range(2)
    ]
    text = conclude(outcomes, starts, tmp_path)
    rows = list(csv.DictReader((tmp_path / 'results.csv').open()))
    assert [(row['start'], row['label_share']) for row in rows] == [
        ('from scratch', '0.1'),
        ('p', '0.1'),
        ('from scratch', '1'),
        ('p', '1'),
    ]
    assert [row['difference'] for row in rows] == ['', '5.0', '', '5.0']
    assert 'p, 10% of the labels: 5 better than from scratch (' in text
    assert Image.open(tmp_path / 'label_share.png').size[0] > 300
