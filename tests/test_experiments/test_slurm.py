"""Trials as jobs of Slurm, whose commands are played by short programs; submitit is real."""

import os
import signal
import sys
import time

import pytest
from trial_toys import (
    FAKE_TRAIN,
    check_one_fails_and_one_is_preempted,
    preempt,
    signal_its_parent,
    trial,
    when_it_waits,
)

from simmim_mm.experiments import run_trials
from simmim_mm.experiments.executors import make_executor, slurm

pytest.importorskip('submitit', reason="needs submitit: pip install '.[cluster]'")

OPTIONS = dict(timeout_min=60, cpus_per_task=1)
# A job is a file with its state, as long as it is in the queue.
PROGRAMS = {
    'sbatch': """
[ -e "$JOBS/refuses" ] && { echo 'sbatch: error: invalid account' >&2; exit 1; }
for script; do :; done
id=$(($(cat "$JOBS/last" 2>/dev/null) + 1))
echo $id > "$JOBS/last"
echo RUNNING > "$JOBS/new" && mv "$JOBS/new" "$JOBS/$id.job"
(
    export SLURM_JOB_ID=$id
    while :; do
        bash "$script"
        rm "$JOBS/$id.requeued" 2>/dev/null || break
    done
    rm -f "$JOBS/$id.job"
) > /dev/null 2>&1 &
echo "Submitted batch job $id"
""",
    'srun': """
while :; do
    case $1 in
        --output) out=${2//%j/$SLURM_JOB_ID}; shift 2 ;;
        --error) err=${2//%j/$SLURM_JOB_ID}; shift 2 ;;
        -*) shift ;;
        *) exec "$@" > "${out//%t/0}" 2> "${err//%t/0}" ;;
    esac
done
""",
    'squeue': """
case "$*" in
    *--me*) for job in "$JOBS"/*.job; do
        state=$(cat "$job" 2>/dev/null) && echo "$(basename "$job" .job) $state"
    done
    exit 0 ;;
    *) job=${!#}
        cat "$JOBS/${job#--jobs=}.job" ;;
esac
""",
    'scontrol': 'touch "$JOBS/$2.requeued"',
    'sacct': 'exit 0',
    'scancel': 'exit 0',
}


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """The folder of the queue."""
    folder, programs = tmp_path / 'jobs', tmp_path / 'programs'
    folder.mkdir()
    programs.mkdir()
    for name, text in PROGRAMS.items():
        (programs / name).write_text(f'#!/bin/bash\n{text}')
        (programs / name).chmod(0o755)
    monkeypatch.setenv('PATH', f'{programs}{os.pathsep}{os.environ["PATH"]}')
    monkeypatch.setenv('JOBS', str(folder))
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    monkeypatch.setattr(slurm, '_QUEUE_AGE', 0.0)
    monkeypatch.setattr(slurm, '_SETTLED', 0.2)
    monkeypatch.setattr(slurm.SlurmExecutor, 'interval', 0.02)
    (tmp_path / 'fake.py').write_text(FAKE_TRAIN)
    return folder


@pytest.fixture
def run(tmp_path, jobs):
    """Runs trials on Slurm; returns their outcomes and what was reported."""

    def run(*trials, stop_at=None):
        lines = []

        def report(line):
            lines.append(line)
            if stop_at and stop_at in line:
                raise KeyboardInterrupt

        executor = make_executor('slurm', tmp_path / 'submitit', options=OPTIONS)
        command = [sys.executable, str(tmp_path / 'fake.py')]
        try:
            outcomes = run_trials(trials, tmp_path / 'runs', command, 1, report, executor)
        except KeyboardInterrupt:
            outcomes = None
        return outcomes, '\n'.join(lines)

    return run


def _tell(jobs, state: str) -> None:
    """What squeue says of the job from now on."""
    (jobs / 'new').write_text(state)
    os.replace(jobs / 'new', jobs / '1.job')


def test_a_job_that_is_preempted_goes_on_and_one_that_fails_is_told(tmp_path, jobs):
    executor = make_executor('slurm', tmp_path / 'submitit', options=OPTIONS)
    check_one_fails_and_one_is_preempted(executor, tmp_path)


def test_jobs_outlive_the_command_which_waits_for_them_when_called_again(tmp_path, run):
    outcomes, said = run(trial('a', wait_at=2), stop_at='started')
    assert outcomes is None
    assert 'started as Slurm job 1,' in said
    assert said.endswith('jobs go on, and the same command waits for them; `scancel 1` ends them')
    waiting = when_it_waits(tmp_path / 'runs', preempt)
    (outcome,), said = run(trial('a', wait_at=2))
    waiting.join()
    assert 'waits for Slurm job 1,' in said
    assert outcome.value == 2.0 and not outcome.cached


def test_a_canceled_job_has_failed_and_stays_out_of_the_queue(tmp_path, jobs, run):
    def cancel(folder):
        _tell(jobs, 'COMPLETING')
        preempt(folder)

    waiting = when_it_waits(tmp_path / 'runs', cancel)
    (outcome,), said = run(trial('a', wait_at=2))
    waiting.join()
    assert outcome.value is None
    assert (outcome.work_dir / 'calls.txt').read_text().split() == ['1']
    assert 'FAILED' in said


def test_a_job_that_is_pending_and_one_that_is_killed_are_told(tmp_path, jobs, run, monkeypatch):
    monkeypatch.setattr('simmim_mm.experiments.run._REPORT', 0.0)

    def kill(folder):
        _tell(jobs, 'PENDING')
        time.sleep(0.3)
        signal_its_parent(folder, signal.SIGKILL)

    waiting = when_it_waits(tmp_path / 'runs', kill)
    (outcome,), said = run(trial('a', wait_at=2))
    waiting.join()
    assert outcome.value is None
    assert 'Slurm job 1 is pending' in said
    assert 'Slurm job 1 has left no result: canceled, or killed; see' in said


def test_a_refused_job_is_one_line(jobs, run):
    (jobs / 'refuses').touch()
    with pytest.raises(ValueError, match=r'Slurm refuses a.*invalid account') as caught:
        run(trial('a'))
    assert '\n' not in str(caught.value)
