"""From a folder to a checkpoint."""

import time

import pytest
import torch

from simmim_mm.catalog import load_config
from simmim_mm.datasets.errors import DataError
from simmim_mm.models.algorithms import MaskedImageModel
from simmim_mm.pretraining import PlanError, Wishes, pretrain
from simmim_mm.pretraining import run as run_module

SMALL = dict(img_size=32, batch_size=8)
TINY = {
    'model.backbone.arch': dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1]),
    'train_dataloader.num_workers': 0,
    'custom_hooks': [],
    'visualizer.vis_backends': [],
}
pytestmark = pytest.mark.filterwarnings('ignore')


def run(folder, tmp_path, **kwargs):
    said = []
    wishes = Wishes(**{**SMALL, **kwargs.pop('wishes', dict(epochs=2))})
    options = kwargs.pop('cfg_options', TINY)
    path = pretrain(
        folder, wishes, tmp_path / 'out', cfg_options=options, report=said.append, **kwargs
    )
    return path, said


def test_trains_as_planned_and_continues(folder, tmp_path, fresh_process):
    path, said = run(folder, tmp_path)
    assert path.name == 'epoch_2.pth'
    text = '\n'.join(said)
    assert 'swin-micro' in text and '2 epochs' in text and '14' in text
    assert not any('note' in line for line in said)
    config = tmp_path / 'out' / 'pretrain.py'
    assert load_config(config).train_cfg.max_epochs == 2
    with pytest.raises(PlanError, match='--resume'):
        run(folder, tmp_path)
    config.write_text(config.read_text().replace('max_epochs=2', 'max_epochs=3'))
    fresh_process()
    path, _ = run(folder, tmp_path, resume=True)
    assert path.name == 'epoch_3.pth'


def test_minutes_count_from_the_start(folder, tmp_path):
    with pytest.raises(PlanError, match='--minutes 0[.]5 is too short'):
        run(folder, tmp_path, wishes=dict(minutes=0.5), started=time.monotonic() - 30)
    assert not (tmp_path / 'out').exists()


def test_batch_is_halved_where_memory_ends(folder, tmp_path, monkeypatch):
    step, calls = MaskedImageModel.train_step, []

    def fails_once(self, data, optim_wrapper):
        calls.append(len(data['inputs']))
        if len(calls) == 12:  # six are timed, the sixth of the training fails
            raise torch.OutOfMemoryError('CUDA out of memory')
        return step(self, data, optim_wrapper)

    monkeypatch.setattr(MaskedImageModel, 'train_step', fails_once)
    monkeypatch.setattr(run_module, '_TIMING', 0.0)
    _, said = run(folder, tmp_path, wishes=dict(epochs=8))
    assert any('4 images at once' in line and '2 such batches' in line for line in said)
    cfg = load_config(tmp_path / 'out' / 'pretrain.py')
    assert (cfg.train_dataloader.batch_size, cfg.optim_wrapper.accumulative_counts) == (4, 2)
    assert max(calls[:12]) == 8 and max(calls[12:]) == 4


@pytest.mark.parametrize(
    'make, message',
    [
        (lambda path: None, 'is not a folder|does not exist|no folder'),
        (lambda path: path.mkdir(), 'no image'),
    ],
)
def test_no_images_are_refused(make, message, tmp_path):
    make(tmp_path / 'images')
    with pytest.raises(DataError, match=message):
        run(tmp_path / 'images', tmp_path)
    assert not (tmp_path / 'out').exists()


def test_full_disk_is_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, '_CHECKPOINTS', 10**9)
    with pytest.raises(PlanError, match='no space left for'):
        run(folder, tmp_path)
    assert not (tmp_path / 'out').exists()
