"""tools/train.py, tools/test.py and tools/dist_train.sh on a tiny model and generated images."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny_pretraining
import torch
from mmengine.config import Config

from simmim_mm.cli import main
from simmim_mm.datasets import image_dataset
from simmim_mm.datasets.image_folder import list_images

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / 'tools'

CONFIG = (
    tiny_pretraining.CONFIG
    + """
train_dataloader.update(num_workers=2, persistent_workers=True)
val_dataloader = dict(
    batch_size=3,
    num_workers=0,
    sampler=dict(type='ReproducibleSampler', shuffle=False, fixed=True),
    dataset=dict(type='ImageDataset', data_root='images', pipeline=pipeline, indices=7),
)
val_cfg = dict()
val_evaluator = dict(type='MaskedLoss')
model['backbone']['type'] = 'MaskedBEiT'
model['neck'].update(in_channels=16, stride=8)
optim_wrapper['clip_grad'] = dict(max_norm=5.0)
param_scheduler['T_max'] = 2
train_cfg['max_epochs'] = 2
auto_scale_lr = dict(base_batch_size=8)
visualizer = dict(vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')])
default_hooks = dict(
    logger=dict(interval=1), checkpoint=dict(interval=2, by_epoch=False, max_keep_ckpts=-1)
)
"""
)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with 24 images and ``tiny.py``; the working directory of the test."""
    tiny_pretraining.enter_project(tmp_path, CONFIG, monkeypatch)
    return tmp_path


@pytest.fixture
def tool(monkeypatch, fresh_process):
    """Runs a tool in this process."""

    def run(name: str, *args: str) -> None:
        fresh_process()
        monkeypatch.setenv('LOCAL_RANK', '0')
        main([name, *args])

    return run


def _history(work_dir: Path, name: str) -> dict:
    """Weights, and every logged value at full precision, from a checkpoint."""
    checkpoint = torch.load(work_dir / name, weights_only=False)
    scalars = checkpoint['message_hub']['log_scalars']
    return dict(
        losses=scalars['train/loss'].data[0].tolist(),
        rates=scalars['train/lr'].data[0].tolist(),
        weights=checkpoint['state_dict'],
    )


def _log(work_dir: Path) -> str:
    return ''.join(p.read_text() for p in sorted(work_dir.glob('*/*.log')))


def _train(*args: str, python: str = sys.executable) -> subprocess.Popen:
    command = [python, str(TOOLS / 'train.py'), 'tiny.py', *args]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


@pytest.mark.slow
def test_killed_in_mid_epoch_and_resumed_is_the_same_to_the_last_bit(project, python):
    """Two epochs of six iterations with drop path and two workers; killed after the eighth."""
    # Validation follows each epoch and draws numbers of its own, in both runs.
    whole_run = _train('--work-dir', 'whole', python=python)
    process = _train('--work-dir', 'killed', '--cfg-options', 'val_dataloader.batch_size=1')
    deadline = time.time() + 120
    while not (project / 'killed' / 'iter_8.pth').exists() and time.time() < deadline:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    for later in ('iter_10.pth', 'iter_12.pth'):  # if the kill came late
        (project / 'killed' / later).unlink(missing_ok=True)
    # The kill may also have come before this file was written.
    (project / 'killed' / 'last_checkpoint').write_text('killed/iter_10.pth')

    assert _train('--work-dir', 'killed', '--resume', python=python).wait() == 0
    assert whole_run.wait() == 0
    log = _log(project / 'killed')
    assert 'names killed/iter_10.pth, which is not there' in log
    assert 'Resuming epoch 2 after 2 of 6 iterations' in log

    whole, resumed = (_history(project / d, 'iter_12.pth') for d in ('whole', 'killed'))
    assert len(whole['losses']) == 12 and len(set(whole['losses'])) == 12
    assert resumed['losses'] == whole['losses']
    assert resumed['rates'] == whole['rates']
    for name, weight in whole['weights'].items():
        assert torch.equal(resumed['weights'][name], weight), name


PROBE = """
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from simmim_mm.registry import HOOKS

@HOOKS.register_module()
class MaskProbe(Hook):
    def __init__(self, folder):
        self.folder, self.masks = folder, []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        masks = [torch.as_tensor(sample.mask) for sample in data_batch['data_samples']]
        self.masks.append(torch.stack(masks))

    def after_train(self, runner):
        torch.save(self.masks, f'{self.folder}/masks_{get_rank()}.pt')
"""


@pytest.mark.slow
def test_two_processes_equal_one_with_the_doubled_batch(project, tool, python):
    (project / 'probe.py').write_text(PROBE)
    config = CONFIG.replace('drop_path_rate=0.4', 'drop_path_rate=0.0')
    config += (
        "custom_imports = dict(imports=['simmim_mm', 'probe'])\n"
        "custom_hooks = _base_.custom_hooks + [dict(type='MaskProbe', folder='.')]\n"
    )
    (project / 'tiny.py').write_text(config)
    env = {**os.environ, 'PYTHON': python, 'PYTHONPATH': str(project), 'PORT': '29653'}
    two = subprocess.run(
        ['bash', str(TOOLS / 'dist_train.sh'), 'tiny.py', '2', '--work-dir', 'two'],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert two.returncode == 0, two.stderr[-3000:]
    masks = [torch.load(f'masks_{rank}.pt') for rank in (0, 1)]

    sys.path.insert(0, str(project))
    try:
        tool(
            'train',
            'tiny.py',
            '--work-dir',
            'one',
            '--cfg-options',
            'train_dataloader.batch_size=8',
        )
    finally:
        sys.path.remove(str(project))
    got, expected = _history(project / 'two', 'iter_6.pth'), _history(project / 'one', 'iter_6.pth')
    assert got['losses'] == pytest.approx(expected['losses'], rel=1e-5)
    assert len(expected['losses']) == 6

    # Ranks take turns along the permutation, so the batches are the same sets of masks ...
    for a, b, both in zip(*masks, torch.load('masks_0.pt')):
        assert torch.equal(torch.stack([a, b], 1).flatten(0, 1), both)
        # ... and no two of a batch are equal but by chance (6 of 70 draws of 2 of 4 blocks are).
        assert not torch.equal(a, b)

    # Validation, too, does not depend on the number of processes, or on batches of 3 out of 7.
    values = [_validation_losses(project / d) for d in ('one', 'two')]
    assert values[0] == pytest.approx(values[1], abs=1e-4) and len(values[0]) == 2
    # Only the first process speaks.
    assert (two.stdout + two.stderr).count('Effective batch') == 1


def _validation_losses(work_dir: Path) -> list[float]:
    return [
        float(line.split('masked_loss/loss:')[1].split()[0])
        for line in _log(work_dir).splitlines()
        if 'masked_loss/loss:' in line
    ]


def test_log_amp_and_evaluation(project, tool, capsys):
    """One epoch with --amp; then tools/test.py gives the figure of the training's validation."""
    options = ('--cfg-options', 'train_cfg.max_epochs=1', 'train_dataloader.num_workers=0')
    tool('train', 'tiny.py', '--amp', '--auto-scale-lr', *options)

    work_dir = project / 'work_dirs' / 'tiny'  # the default
    log = _log(work_dir)
    assert 'Mixed precision on the CPU: bfloat16 (the float16 of the config is for GPUs).' in log
    last = [line for line in log.splitlines() if 'Epoch(train)' in line][-1]
    for item in ('[6/6]', 'lr:', 'eta:', 'data_time:', 'images_per_second:', 'loss:', 'grad_norm:'):
        assert item in last
    assert _history(work_dir, 'iter_6.pth')['rates'][0] == pytest.approx(1e-3 * 4 / 8)
    assert 'Effective batch, of one step of the optimizer: 4 images' in log
    assert list(work_dir.glob('*/vis_data/events.out.tfevents.*'))

    (during,) = _validation_losses(work_dir)
    for batch_size in (1, 7):
        shutil.rmtree(work_dir / 'test', ignore_errors=True)
        size = f'val_dataloader.batch_size={batch_size}'
        tool('test', 'tiny.py', str(work_dir / 'iter_6.pth'), '--cfg-options', size)
        assert _validation_losses(work_dir / 'test') == pytest.approx([during], abs=1e-4)


def test_the_end_of_a_training_frees_its_workers(project, tool):
    tool('train', 'tiny.py', '--epochs', '1', '--no-validate')
    assert (project / 'work_dirs' / 'tiny' / 'iter_6.pth').is_file()
    assert not multiprocessing.active_children()


def test_the_data_that_are_checked_are_trained_on(project, tool, monkeypatch):
    listed = []

    def count(*args):
        listed.append(args[0])
        return list_images(*args)

    monkeypatch.setattr(image_dataset, 'list_images', count)
    options = ('train_cfg.max_epochs=1', 'train_dataloader.num_workers=0')
    tool('train', 'tiny.py', '--work-dir', 'run', '--cfg-options', *options)
    assert listed == ['images', 'images']  # to train, and to validate

    # What is written is the config as before, as text.
    expected = Config.fromfile('tiny.py')
    stored = torch.load(project / 'run/iter_6.pth', weights_only=False)['meta']['cfg']
    (project / 'stored.py').write_text(stored)
    for path in ('run/tiny.py', 'stored.py'):
        dumped = Config.fromfile(path)
        for name in ('train_dataloader', 'val_dataloader'):
            assert dumped[name].dataset.to_dict() == expected[name].dataset.to_dict()
            assert dumped[name].sampler == expected[name].sampler


def _error(tool, capsys, *args) -> str:
    with pytest.raises(SystemExit) as stop:
        tool(*args)
    assert stop.value.code == 2
    text = capsys.readouterr().err
    lines = [line for line in text.splitlines() if line.startswith('error: ')]
    assert len(lines) == 1 and 'Traceback' not in text
    return lines[0]


@pytest.mark.parametrize(
    'options, message',
    [
        (['train_dataloader.dataset.data_root=nowhere'], 'nowhere'),
        (['train_dataloader.dataset.data_root=empty'], 'empty'),
        (['val_dataloader.dataset.data_root=nowhere'], 'nowhere'),
        (['train_dataloader.dataset.pipeline.2.mask_patch_size=24'], '24'),
        (['model.backbone.img_size=64'], '64'),
        (['model.backbone.in_channels=4'], 'in_channels'),
        (['model.backbone.patch_size=16'], '16'),
        (['model.type=SimMIN'], 'SimMIN'),
        (['load_from=tiny.py'], 'tiny.py'),
        (
            ['train_dataloader.batch_size=25', 'train_dataloader.drop_last=True'],
            '24 images are fewer than a batch of 25, and drop_last=True',
        ),
    ],
)
def test_what_is_wrong_is_told_in_one_line_before_training(project, tool, capsys, options, message):
    (project / 'empty').mkdir()
    assert message in _error(tool, capsys, 'train', 'tiny.py', '--cfg-options', *options)
    assert not list(project.glob('work_dirs/*/*.pth'))


def test_wrong_command_lines(project, tool, capsys):
    assert 'did you mean tiny.py?' in _error(tool, capsys, 'train', 'tinny.py')
    assert 'no_such.pth' in _error(tool, capsys, 'train', 'tiny.py', '--resume', 'no_such.pth')
    args = ('--auto-scale-lr', '--cfg-options', 'auto_scale_lr=None')
    assert 'base_batch_size' in _error(tool, capsys, 'train', 'tiny.py', *args)
    assert 'no.pth' in _error(tool, capsys, 'test', 'tiny.py', 'no.pth')
    torch.save(dict(state_dict={'backbone.other': torch.zeros(2)}), 'other.pth')
    assert 'other.pth lacks' in _error(tool, capsys, 'test', 'tiny.py', 'other.pth')


def test_unexpected_errors_keep_their_traceback(project, tool, monkeypatch):
    monkeypatch.setattr('mmengine.runner.Runner.train', lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tool('train', 'tiny.py')
