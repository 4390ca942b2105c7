"""A process that dies, or a file that does not answer, ends the training with the reason."""

import os

import pytest
from harness import DEAD, PRETRAINING, run, start

LOADING = """
import os, signal, time
from pathlib import Path
from torch.utils.data import get_worker_info
from simmim_mm.registry import TRANSFORMS

@TRANSFORMS.register_module()
class Accident:
    # Happens to a worker with one of the last two images.
    def __init__(self, kind):
        self.kind = kind

    def __call__(self, results):
        if get_worker_info() and Path('armed').exists() and int(Path(results['img_path']).stem) > 5:
            if self.kind == 'killed':
                os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when memory is full
            open('pipe')  # nobody writes: as a file of a network drive that hangs
        return results
"""


@pytest.mark.parametrize(
    ('kind', 'message'),
    [
        ('killed', 'a process that loads images has died'),
        ('hangs', 'no batch came within 2 seconds'),
    ],
)
def test_a_worker_that_is_lost(project, python, kind, message):
    (project / 'accident.py').write_text(LOADING)
    config = (project / 'tiny.py').read_text()
    config += (
        "custom_imports = dict(imports=['simmim_mm', 'accident'])\n"
        f"pipeline.insert(1, dict(type='Accident', kind={kind!r}))\n"
        'train_dataloader.update(num_workers=1, timeout=2, persistent_workers=True)\n'
    )
    (project / 'tiny.py').write_text(config)
    os.mkfifo(project / 'pipe')
    (project / 'armed').touch()
    options = ('--no-validate',)
    end = run(python, project, *PRETRAINING, *options)
    assert end.code == 2 and message in end.output and 'Traceback' not in end.output, end.output
    assert '--resume continues' in end.output
    (project / 'armed').unlink()
    assert run(python, project, *PRETRAINING, *options).code == 0


@pytest.mark.parametrize('dies', [0, 1])
def test_one_of_two_processes_dies_and_the_other_says_so(project, python, dies):
    def rank(number, **fault):
        variables = dict(RANK=str(number), LOCAL_RANK=str(number), WORLD_SIZE='2')
        variables |= dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(29661 + dies))
        options = ('--launcher', 'pytorch', '--batch-size', '2')
        return start(python, project, *PRETRAINING, *options, environment=variables, **fault)

    fault = dict(at=30, event='open', file='images', do='SIGKILL')
    ranks = [rank(number, **(fault if number == dies else {})) for number in (0, 1)]
    assert ranks[dies].wait(timeout=200) in DEAD
    output, _ = ranks[1 - dies].communicate(timeout=60)
    assert ranks[1 - dies].returncode == 2 and 'Traceback' not in output, output
    assert 'another process of this training has ended' in output
