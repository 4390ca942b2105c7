"""tools/slurm_train.sh continues a training that was asked to stop."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / 'tools' / 'slurm_train.sh'
SRUN = """#!/bin/bash
echo "$MASTER_PORT $@" >> {folder}/calls
kill -s TERM $PPID  # Slurm's signal may reach the batch script too
exit $(sed -n "$(wc -l < {folder}/calls)p" {folder}/codes)
"""
SCONTROL = """#!/bin/bash
[ "$1" = show ] && echo "   JobState=${{STATE:-RUNNING Reason=None}}" && exit
echo "$@" > {folder}/queue
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Runs the script where srun ends with given codes; returns its code, and the calls."""
    for name, text in dict(srun=SRUN, scontrol=SCONTROL).items():
        (tmp_path / name).write_text(text.format(folder=tmp_path))
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
    for name in ('SLURM_JOB_ID', 'SLURM_RESTART_COUNT', 'MASTER_PORT', 'GRES'):
        monkeypatch.delenv(name, raising=False)

    def run(*codes, **environment):
        (tmp_path / 'codes').write_text(''.join(f'{code}\n' for code in codes))
        (tmp_path / 'calls').unlink(missing_ok=True)
        command = ['bash', str(SCRIPT), 'gpu', 'job', 'config.py', 'work', '--amp']
        done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True)
        calls = (tmp_path / 'calls').read_text().splitlines()
        return done.returncode, [call.partition('config.py ')[2] for call in calls]

    return run


TRAIN = '--launcher slurm --work-dir work --amp'


def test_outside_a_job_srun_is_called_again(slurm, tmp_path):
    assert slurm(75, 75, 0) == (0, [TRAIN, f'{TRAIN} --resume', f'{TRAIN} --resume'])
    assert slurm(75, 2) == (2, [TRAIN, f'{TRAIN} --resume'])
    assert slurm(1) == (1, [TRAIN])
    assert not (tmp_path / 'queue').exists()


def test_a_batch_job_goes_back_into_the_queue_and_resumes(slurm, tmp_path):
    assert slurm(75, SLURM_JOB_ID='12') == (0, [TRAIN])
    assert (tmp_path / 'queue').read_text() == 'requeue 12\n'
    assert slurm(0, SLURM_JOB_ID='12', SLURM_RESTART_COUNT='1') == (0, [f'{TRAIN} --resume'])


def test_a_canceled_job_does_not_come_back(slurm, tmp_path):
    for state in ('CANCELLED', 'COMPLETING Reason=None'):
        assert slurm(75, SLURM_JOB_ID='12', STATE=state) == (75, [TRAIN])
    assert not (tmp_path / 'queue').exists()
    assert slurm(75, SLURM_JOB_ID='12', STATE='COMPLETING Reason=TimeLimit') == (0, [TRAIN])
    assert (tmp_path / 'queue').exists()


def test_jobs_on_one_node_meet_at_ports_of_their_own(slurm, tmp_path):
    ports = set()
    for job in ('12', '13'):
        slurm(0, SLURM_JOB_ID=job)
        ports.add((tmp_path / 'calls').read_text().split()[0])
    assert len(ports) == 2 and all(20_000 <= int(port) < 30_000 for port in ports)
    slurm(0, MASTER_PORT='29512')
    assert (tmp_path / 'calls').read_text().startswith('29512 ')


def test_gpus_are_asked_for_unless_they_are_not_wanted(slurm, tmp_path):
    for environment, asked in [({}, 'gpu:8'), (dict(GRES='a100:2'), 'a100:2'), (dict(GRES=''), '')]:
        slurm(0, **environment)
        words = (tmp_path / 'calls').read_text().split()
        assert [word for word in words if 'gres' in word] == [f'--gres={asked}'] * bool(asked)
