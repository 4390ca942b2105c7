"""From a folder to a checkpoint."""

import json
import signal
import time
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain.structures import DataSample

import simmim_mm
from simmim_mm.catalog import load_config
from simmim_mm.checkpoint import CheckpointError
from simmim_mm.checkpoint.disk import DiskFull
from simmim_mm.datasets.errors import DataError
from simmim_mm.engine import timed
from simmim_mm.engine.run_lock import RunLock, WorkDirInUse
from simmim_mm.engine.stop_request import Stopped
from simmim_mm.models.algorithms import MaskedImageModel
from simmim_mm.pretraining import Facts, Machine, PlanError, Wishes, make_plan, pretrain, timing
from simmim_mm.pretraining import run as run_module
from simmim_mm.pretraining.config_file import config_text
from simmim_mm.pretraining.start import check_start, read_start
from simmim_mm.registry import MODELS

PHOTOS = Facts('/photos', 600, 375, 200_000, 'rgb', 'uint8', 0, 255, [120.0] * 3, [60.0] * 3, [])
CPU = Machine(0, 2, False)
SMALL = dict(img_size=32, batch_size=8)
TINY = {
    'model.backbone.arch': dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1]),
    'train_dataloader.num_workers': 0,
    'custom_hooks': [],
    'visualizer.vis_backends': [],
}
pytestmark = pytest.mark.filterwarnings('ignore')


@pytest.fixture(autouse=True)
def short_timing(monkeypatch):
    monkeypatch.setattr(run_module, '_TIMING', 0.0)


def run(folder, tmp_path, **kwargs):
    said = []
    wishes = Wishes(**{**SMALL, **kwargs.pop('wishes', dict(epochs=2))})
    options = kwargs.pop('cfg_options', TINY)
    path = pretrain(
        folder, wishes, tmp_path / 'out', cfg_options=options, report=said.append, **kwargs
    )
    return path, said


def test_trains_as_planned_and_continues(folder, tmp_path, fresh_process, capsys):
    written = {'visualizer.vis_backends': [dict(type='LocalVisBackend')]}
    path, said = run(folder, tmp_path, cfg_options={**TINY, **written})
    shown = capsys.readouterr().out.splitlines()
    (log,) = (tmp_path / 'out').glob('*/*.log')
    logged = log.read_text()
    assert len(shown) < 20 and any('Epoch(train) [1]' in line for line in shown)
    assert any('weight decay' in line for line in shown)
    for text in ('Config:', 'System environment', 'after_train_epoch', 'Epoch(train) [2]'):
        assert text in logged and not any(text in line for line in shown[:-3])
    assert path.name == 'epoch_2.pth'
    text = '\n'.join(said)
    assert 'swin-micro' in text and '2 epochs' in text and '14' in text
    assert [line for line in said if 'note' in line] == [said[-3]] and '--from' in said[-3]
    assert said[-1] == f'report: {tmp_path / "out" / "report.html"}'
    page = (tmp_path / 'out' / 'report.html').read_text()
    assert '<h2>Data</h2>' in page and 'Not available' not in page
    config = tmp_path / 'out' / 'pretrain.py'
    assert 'launcher = ' not in config.read_text()  # as it was planned, not as mmengine has run it
    assert load_config(config).train_cfg.max_epochs == 2
    with pytest.raises(PlanError, match='--resume'):
        simmim_mm.pretrain(folder, out=tmp_path / 'out')
    config.write_text(config.read_text().replace('max_epochs=2', 'max_epochs=3'))
    fresh_process()
    path, _ = run(folder, tmp_path, resume=True)
    assert path.name == 'epoch_3.pth'


def test_minutes_count_from_the_start(folder, tmp_path):
    with pytest.raises(PlanError, match=r'--minutes 0\.5 is too short'):
        run(folder, tmp_path, wishes=dict(minutes=0.5), started=time.monotonic() - 30)
    assert not (tmp_path / 'out').exists()


def test_minutes_hold_where_the_machine_becomes_slower(folder, tmp_path, monkeypatch):
    """By a clock that only training moves on."""
    step, clock, calls = MaskedImageModel.train_step, SimpleNamespace(now=0.0), []

    def slowed(self, data, optim_wrapper):
        calls.append(clock.now)
        clock.now += 0.5 if len(calls) < 30 else 1.5
        return step(self, data, optim_wrapper)

    monkeypatch.setattr(MaskedImageModel, 'train_step', slowed)
    fake = SimpleNamespace(monotonic=lambda: clock.now, perf_counter=lambda: clock.now)
    for module in (run_module, timing, timed):
        monkeypatch.setattr(module, 'time', fake)
    timed_steps = partial(timing.time_steps, clock=fake.perf_counter)
    monkeypatch.setattr(run_module, 'time_steps', timed_steps)
    monkeypatch.setattr(run_module, '_END', 0.0)  # what follows moves no clock
    path, _ = run(folder, tmp_path, wishes=dict(minutes=1))
    assert clock.now == pytest.approx(60, rel=0.1)
    planned = load_config(tmp_path / 'out' / 'pretrain.py').train_cfg.max_iters
    assert int(path.stem.removeprefix('iter_')) < 0.6 * planned


def test_a_short_training_is_timed_no_longer_than_it_takes(folder, tmp_path, monkeypatch):
    step, calls = MaskedImageModel.train_step, []

    def counted(self, *args, **kwargs):
        calls.append(self)
        return step(self, *args, **kwargs)

    monkeypatch.setattr(MaskedImageModel, 'train_step', counted)
    monkeypatch.setattr(run_module, '_TIMING', 3600.0)
    run(folder, tmp_path, wishes=dict(epochs=2))
    assert [calls.count(model) for model in dict.fromkeys(calls)] == [3 + 4, 4]  # 3 are not timed


def test_batch_is_halved_where_memory_ends(folder, tmp_path, monkeypatch):
    step, calls = MaskedImageModel.train_step, []

    def fails_once(self, data, optim_wrapper):
        calls.append(len(data['inputs']))
        if len(calls) == 8:  # two are timed, the sixth of the training fails
            raise torch.OutOfMemoryError('CUDA out of memory')
        return step(self, data, optim_wrapper)

    monkeypatch.setattr(MaskedImageModel, 'train_step', fails_once)
    _, said = run(folder, tmp_path, wishes=dict(epochs=8))
    assert any('4 images at once' in line and '2 such batches' in line for line in said)
    cfg = load_config(tmp_path / 'out' / 'pretrain.py')
    assert (cfg.train_dataloader.batch_size, cfg.optim_wrapper.accumulative_counts) == (4, 2)
    assert max(calls[:8]) == 8 and max(calls[8:]) == 4


def write_channels(folder, counts):
    folder.mkdir()
    for i, count in enumerate(counts):
        np.save(folder / f'{i}.npy', np.full((40, 40, count), i, np.float32))


@pytest.mark.parametrize(
    'make, message',
    [
        (lambda path: None, 'is not a folder|does not exist|no folder'),
        (lambda path: path.mkdir(), 'no image'),
        (lambda path: write_channels(path, [2, 5] * 5), '2 in .*, 5 in .*--channels'),
        (lambda path: write_channels(path, [3]), 'holds 1 image: .* at least 8'),
    ],
)
def test_unfit_images_are_refused(make, message, tmp_path):
    make(tmp_path / 'images')
    with pytest.raises((DataError, PlanError), match=message) as error:
        run(tmp_path / 'images', tmp_path)
    assert '\n' not in str(error.value)
    assert not (tmp_path / 'out').exists()


def test_full_disk_is_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, '_CHECKPOINTS', 10**9)
    with pytest.raises(DiskFull, match='no space left for'):
        run(folder, tmp_path)
    assert not (tmp_path / 'out').exists()


def timm_swin(tmp_path):
    timm = pytest.importorskip('timm')
    torch.manual_seed(0)
    model = timm.models.SwinTransformer(
        img_size=64, embed_dim=8, depths=(1, 1, 2, 1), num_heads=(1, 1, 2, 2), window_size=4,
        num_classes=3,
    )  # fmt: skip
    torch.save(model.state_dict(), tmp_path / 'swin.pth')
    return tmp_path / 'swin.pth', model


def test_starts_from_public_weights_and_trains_the_last_blocks(folder, tmp_path, capsys):
    file, model = timm_swin(tmp_path)
    options = {key: value for key, value in TINY.items() if 'arch' not in key}
    wishes = dict(epochs=1, tune='last', img_size=32, batch_size=8, lr=0.01)
    path, said = run(folder, tmp_path, wishes=wishes, weights=file, cfg_options=options)
    assert any(str(file) in line for line in said)
    shown = capsys.readouterr()
    assert 'requires_grad' not in shown.out + shown.err  # a line for each frozen parameter
    file.unlink()  # the work dir is complete without it
    state = torch.load(path, weights_only=False)['state_dict']
    public = model.state_dict()
    first = 'layers.0.blocks.0.mlp.fc1.weight', 'backbone.stages.0.blocks.0.ffn.layers.0.0.weight'
    last = 'layers.3.blocks.0.mlp.fc1.weight', 'backbone.stages.3.blocks.0.ffn.layers.0.0.weight'
    assert torch.equal(state[first[1]], public[first[0]])
    assert not torch.equal(state[last[1]], public[last[0]])
    assert torch.allclose(state[last[1]], public[last[0]], atol=0.1)
    cfg = load_config(tmp_path / 'out' / 'pretrain.py')
    assert (tmp_path / 'out' / 'start.pth').samefile(cfg.model.backbone.init_cfg.checkpoint)


def test_weights_of_another_architecture_are_refused(folder, tmp_path):
    file, _ = timm_swin(tmp_path)
    for backbone, message in (
        ('resnet50', 'holds a MaskedSwin, and the backbone asked for is a MaskedResNet'),
        ('swin-tiny', 'is not of this MaskedSwin'),
    ):
        with pytest.raises(CheckpointError, match=message) as error:
            run(folder, tmp_path, weights=file, wishes=dict(backbone=backbone, epochs=1))
        assert '\n' not in str(error.value)
    with pytest.raises(FileNotFoundError, match='--from: no file'):
        run(folder, tmp_path, weights=tmp_path / 'nowhere.pth')
    torch.save({'a.b': torch.zeros(1)}, file)
    with pytest.raises(CheckpointError, match='no known family'):
        run(folder, tmp_path, weights=file)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('kind', ['vit', 'dinov2', 'mae', 'swinv2', 'convnext', 'resnet'])
def test_plan_from_each_architecture(kind, tmp_path):
    timm = pytest.importorskip('timm')
    models, vit = timm.models, dict(img_size=64, embed_dim=192, depth=4, num_heads=3)
    model = dict(
        vit=lambda: models.VisionTransformer(**vit, patch_size=16),
        dinov2=lambda: models.VisionTransformer(
            **{**vit, 'img_size': 56}, patch_size=14, init_values=1e-5, num_classes=0
        ),
        mae=lambda: models.VisionTransformer(**vit, patch_size=8, num_classes=0),
        swinv2=lambda: models.SwinTransformerV2(
            img_size=64, embed_dim=32, depths=(2, 1, 1, 1), num_heads=(1, 2, 2, 2), window_size=4
        ),
        convnext=lambda: models.convnext.ConvNeXt(depths=(1, 1, 1, 1), dims=(8, 8, 8, 8)),
        resnet=lambda: models.resnet18(),
    )[kind]()
    torch.save(model.state_dict(), tmp_path / 'public.pth')
    hints = dict(img_size=64, window_size=4) if kind == 'swinv2' else {}
    (tmp_path / 'config.json').write_text(json.dumps(dict(model_args=hints)))
    start = read_start(tmp_path / 'public.pth', tmp_path)
    plan = make_plan(PHOTOS, CPU, Wishes(tune='last', epochs=1), start)
    check_start(start, plan.arguments, 3)
    assert plan.method == ('mae' if kind == 'mae' else 'simmim')
    cfg = Config.fromstring(config_text(plan, 'work', str(start.file)), '.py')
    model = MODELS.build(dict(cfg.model, type='simmim_mm.MaskedImageModel'))
    model.init_weights()
    size, grid = plan.img_size, plan.img_size // plan.block
    mask = torch.zeros(1, grid, grid, dtype=torch.bool)
    mask[:, ::2] = True
    model.train()
    loss = model(torch.randn(1, 3, size, size), [DataSample(mask=mask[0])], mode='loss')
    sum(v for v in loss.values() if isinstance(v, torch.Tensor) and v.requires_grad).backward()
    trained = {n for n, p in model.backbone.named_parameters() if p.grad is not None}
    everything = {n for n, _ in model.backbone.named_parameters()}
    assert trained < everything and len(trained) <= len(everything) // 2


def test_a_work_dir_in_use_is_refused(folder, tmp_path):
    with RunLock(tmp_path / 'out'), pytest.raises(WorkDirInUse, match='in use by process'):
        run(folder, tmp_path)
    assert not (tmp_path / 'out').exists()


def test_ctrl_c_leaves_a_state_that_continues(folder, tmp_path, monkeypatch, fresh_process):
    step, calls = MaskedImageModel.train_step, []

    def interrupted(self, data, optim_wrapper):
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return step(self, data, optim_wrapper)

    monkeypatch.setattr(MaskedImageModel, 'train_step', interrupted)
    monkeypatch.setattr(run_module, 'time_steps', lambda *_, **__: timing.Timing(0.01, 0.0, 1000))
    with pytest.raises(Stopped):
        run(folder, tmp_path, wishes=dict(epochs=3))
    assert (tmp_path / 'out' / 'iter_3.pth').is_file()
    fresh_process()
    path, _ = run(folder, tmp_path, resume=True)
    assert path.name == 'epoch_3.pth' and len(calls) == 6
