"""tools/train.py trains classifiers of every family on generated shapes, and refuses wrong data."""

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch

from simmim_mm.cli import main
from simmim_mm.experiments.shapes import write_shapes

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / 'configs/downstream/classification'
CHANNELS = 16
VIT = dict(
    arch=dict(embed_dims=CHANNELS, num_layers=2, num_heads=2, feedforward_channels=32),
    img_size=32,
    patch_size=8,
)
SWIN = dict(
    arch=dict(embed_dims=CHANNELS // 2, depths=[1, 1], num_heads=[1, 2]),
    img_size=32,
    window_size=4,
    out_indices=(1,),
)
SWIN_V2 = dict(SWIN['arch'], extra_norm_every_n_blocks=0)
BEIT = dict(use_abs_pos_emb=False, use_rel_pos_bias=True, use_shared_rel_pos_bias=False)
CONV = dict(embed_dims=(8, 8, CHANNELS), depths=(1, 1, 1), num_heads=2, mlp_ratios=(2, 2, 2))
BASES = dict(
    finetune='_base_/finetune_folder.py',
    linear='_base_/linear_folder.py',
    attentive='attentive_swin-micro-w6_1xb64-coslr-50e_folder-96px.py',
)
BACKBONES = dict(
    swin=dict(SWIN, type='simmim_mm.MaskedSwin'),
    swinv2=dict(SWIN, type='simmim_mm.MaskedSwinV2', arch=SWIN_V2),
    beit=dict(VIT, **BEIT, type='simmim_mm.MaskedBEiT'),
    vit=dict(VIT, type='simmim_mm.MaskedViT', mask_mode='gather'),
    convvit=dict(type='simmim_mm.MaskedConvViT', arch=CONV, img_size=32, fusion=False),
)


def write_config(path: Path, kind: str, family: str) -> None:
    """A small recipe of ``kind`` on a tiny backbone, twelve steps long."""
    backbone, neck = dict(BACKBONES[family]), {}
    if kind == 'attentive':
        backbone.update(_delete_=True)
        neck.update(num_heads=2)
    elif kind == 'finetune':
        backbone.update(drop_path_rate=0.1)
        neck = dict(type='GlobalAveragePooling')
        if family in ('beit', 'vit'):
            backbone.update(out_type='avg_featmap', final_norm=False)
            neck = None
        elif family == 'convvit':
            backbone.update(final_norm=False, frozen_pos_embed=False)
            neck = dict(type='simmim_mm.AveragePool', norm='layer')
    path.write_text(
        f"""
_base_ = '{CONFIGS}/{BASES[kind]}'
resize = dict(type='Resize', scale=(32, 32))
train = [_base_.load, resize, _base_.flip, _base_.pack]
val = [_base_.load, resize, _base_.pack]
root = 'shapes/classification'
# no mixing of images: over twelve steps its targets would be noise
model = dict(backbone={backbone}, neck={neck}, train_cfg=None)
train_dataloader = dict(
    batch_size=12, num_workers=0, dataset=dict(data_root=root, pipeline=train)
)
val_dataloader = dict(batch_size=12, num_workers=0, dataset=dict(data_root=root, pipeline=val))
optim_wrapper = dict(optimizer=dict(lr=5e-3))
param_scheduler = []
train_cfg = dict(max_epochs=6, val_interval=3)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=3))
visualizer = dict(vis_backends=[dict(type='LocalVisBackend')])
"""
    )


@pytest.fixture
def project(tmp_path, monkeypatch):
    write_shapes(tmp_path / 'shapes', train=24, val=9, unlabeled=0, size=32)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tool(monkeypatch, fresh_process):
    def run(name: str, *args: str) -> None:
        fresh_process()
        monkeypatch.setenv('LOCAL_RANK', '0')
        main([name, *args])

    return run


@pytest.fixture
def train(tool):
    return partial(tool, 'train')


def scalars(work_dir: Path) -> list[dict]:
    files = sorted(work_dir.glob('*/vis_data/scalars.json'))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


# Of probes, what differs by family is which map they see: tests/test_configs looks at that.
RUNS = [('finetune', family) for family in BACKBONES]
RUNS += [('linear', 'convvit'), ('attentive', 'swinv2')]


@pytest.mark.parametrize('kind, family', RUNS)
def test_loss_falls(project, train, kind, family):
    write_config(project / 'tiny.py', kind, family)
    train('tiny.py', '--work-dir', 'run')
    lines = scalars(project / 'run')
    losses = [line['loss'] for line in lines if 'loss' in line]
    assert len(losses) == 12 and min(losses[-4:]) < losses[0]
    figures = [line['accuracy/top1'] for line in lines if 'accuracy/top1' in line]
    assert len(figures) == 2 and all(0 <= f <= 100 for f in figures)
    assert list((project / 'run').glob('best_accuracy_top1_*.pth'))


def test_the_test_tool_repeats_the_figure_of_the_validation(project, tool):
    write_config(project / 'tiny.py', 'finetune', 'vit')
    tool('train', 'tiny.py', '--work-dir', 'run')
    figures = [x['accuracy/top1'] for x in scalars(project / 'run') if 'accuracy/top1' in x]
    tool('test', 'tiny.py', 'run/epoch_6.pth', '--work-dir', 'test')
    (line,) = scalars(project / 'test')
    assert line['accuracy/top1'] == figures[-1]
    assert not list((project / 'test').rglob('*.pth'))


def test_resumes_in_mixed_precision_from_a_pretrained_backbone(project, train):
    write_config(project / 'tiny.py', 'finetune', 'swin')
    short = ['--work-dir', 'run', '--cfg-options', 'train_cfg.max_epochs=3']
    train('tiny.py', *short)
    state = torch.load('run/epoch_3.pth', weights_only=False)['state_dict']
    frozen = ['--pretrained', 'run/epoch_3.pth', '--work-dir', 'second', '--amp']
    none = [
        'optim_wrapper.optimizer.lr=0.0',
        'train_cfg.max_epochs=3',
        'model.head.init_cfg.std=1.0',
    ]
    train('tiny.py', *frozen, '--cfg-options', *none)
    second = torch.load('second/epoch_3.pth', weights_only=False)['state_dict']
    for key in state:
        if key.startswith('backbone.'):
            torch.testing.assert_close(second[key], state[key])
    assert not torch.equal(second['head.fc.weight'], state['head.fc.weight'])
    train('tiny.py', '--work-dir', 'run', '--resume')
    steps = [line['step'] for line in scalars(project / 'run') if 'loss' in line]
    assert steps == list(range(1, 13))


@pytest.mark.slow
def test_average_of_the_weights(project, train):
    write_config(project / 'tiny.py', 'finetune', 'vit')
    with open('tiny.py', 'a') as file:
        file.write('custom_hooks = [*_base_.custom_hooks, _base_.ema]\n')
    train('tiny.py', '--work-dir', 'run')
    checkpoint = torch.load('run/epoch_6.pth', weights_only=False)
    assert 'ema_state_dict' in checkpoint


WRONG = {
    'missing': (['train_dataloader.dataset.data_root=nowhere'], 'nowhere'),
    'heads': (['model.head.num_classes=7'], 'model.head.num_classes is 7'),
    'channels': (['model.head.in_channels=7'], 'head'),
    'checkpoint': (['load_from=tiny.py'], 'tiny.py'),
}


@pytest.mark.parametrize('name', WRONG)
def test_wrong_settings(project, train, capsys, name):
    write_config(project / 'tiny.py', 'finetune', 'vit')
    options, message = WRONG[name]
    assert message in error(train, capsys, '--cfg-options', *options)


def test_wrong_folders(project, train, capsys):
    write_config(project / 'tiny.py', 'finetune', 'vit')
    data = project / 'shapes/classification'
    for file in (data / 'val/circle').iterdir():
        file.unlink()
    text = error(train, capsys)
    assert 'val_dataloader.dataset' in text and "'circle'" in text
    shutil.rmtree(data / 'val/circle')
    text = error(train, capsys)
    assert "missing 'circle'" in text and 'val_dataloader.dataset' in text
    (data / 'val/blob').mkdir()
    shutil.copy(next((data / 'val/star').iterdir()), data / 'val/blob')
    assert "unknown 'blob'" in error(train, capsys)
    for file in data.glob('train/*/*.png'):
        file.unlink()
    assert 'Found 0 files' in error(train, capsys)
    assert 'no_such.pth' in error(train, capsys, '--pretrained', 'no_such.pth')


def error(train, capsys, *args) -> str:
    with pytest.raises(SystemExit) as stop:
        train('tiny.py', *args)
    assert stop.value.code == 2
    (line,) = [s for s in capsys.readouterr().err.splitlines() if s.startswith('error: ')]
    return line
