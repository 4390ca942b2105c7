"""`simmim distill`: a teacher's file and a folder of images are enough."""

import numpy as np
import pytest
import torch
from PIL import Image

from simmim_mm.checkpoint import load_weights
from simmim_mm.cli import main
from simmim_mm.cli.distill import students

SMALL = """
_base_ = {base!r}
crop = dict(_base_.crop, scale=32)
mask = dict(_base_.mask, mask_patch_size=8)
arch = dict(_delete_=True, embed_dims=8, num_layers=2, num_heads=2, feedforward_channels=16)
model = dict(
    backbone=dict(arch=arch, img_size=32),
    neck=dict(decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=2),
)
train_dataloader = dict(
    batch_size=4, num_workers=0, persistent_workers=False, pin_memory=False,
    dataset=dict(pipeline=[_base_.load, crop, _base_.flip, mask, _base_.pack]),
)
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='Visualizer', vis_backends=vis_backends)
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'images').mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (8, 40, 48, 3), dtype=np.uint8)
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f'images/{i}.png')
    from simmim_mm.catalog import find_config

    base = find_config('mae_vit-micro-p8_1xb64-coslr-300e_folder-96px')[0]
    (tmp_path / 'small.py').write_text(SMALL.format(base=str(base)))
    timm = pytest.importorskip('timm')
    torch.manual_seed(0)
    wide = timm.create_model(
        'vit_tiny_patch16_224',
        img_size=32,
        patch_size=4,
        embed_dim=64,
        depth=1,
        num_heads=1,
        num_classes=3,
    )
    torch.save(wide.state_dict(), tmp_path / 'timm.pth')
    (tmp_path / 'config.json').write_text('{"model_args": {"num_heads": 1}}')  # as timm does
    return tmp_path


def distill(*args: str) -> None:
    main(['distill', 'timm.pth', 'images', '--student', 'small.py', '--epochs', '2', *args])


@pytest.mark.parametrize('target', ['both', 'teacher'])
def test_a_teacher_of_other_code_teaches_a_student(target, project, capsys):
    args = ['--target', target, '--relation', 'features', 'vv', '--loss-weight', '0.5']
    distill('--work-dir', 'out', *args, '--cfg-options', 'model.teacher.heads=2')
    last = project / 'out/epoch_2.pth'
    shown = capsys.readouterr().out
    assert 'timm.pth is of timm_vit: converted to out/teacher.pth' in shown
    assert f'simmim compare classification DATA --checkpoints distilled={last}' in shown
    stored = load_weights(last)
    state = stored['state_dict']
    assert state['teacher.projectors.features.0.weight'].shape == (64, 8)
    assert any(name.startswith('neck.') for name in state) == (target == 'both')
    assert sum(v.numel() for k, v in state.items() if k.startswith('teacher.')) < 1000
    scalars = next((project / 'out').glob('*/vis_data/scalars.json')).read_text()
    assert '"teacher_time"' in scalars and '"loss_vv"' in scalars


def test_what_is_wrong_is_said_before_training(project, capsys, fresh_process):
    for args, message in {
        ('gone.pth', 'images', '--student', 'vit-micro'): 'no checkpoint file at gone.pth',
        ('timm.pth', 'images', '--student', 'vit_huge'): '--student vit_huge: choose from',
        ('timm.pth', 'images', '--student', 'small.py', '--relation', 'kq'): 'got kq',
        ('timm.pth', 'images', '--student', 'small.py', '--loss', 'kl'): "loss='kl'",
    }.items():
        fresh_process()
        with pytest.raises(SystemExit) as end:
            main(['distill', *args])
        error = capsys.readouterr().err
        assert end.value.code == 2 and message in error and error.count('\n') == 2, error
    (project / 'config.json').unlink()
    with pytest.raises(SystemExit):
        distill()
    error = capsys.readouterr().err
    assert 'do not tell num_heads' in error and 'convert the teacher by simmim convert' in error
    assert not list(project.rglob('epoch_*.pth'))


def test_students_are_those_of_the_recipes():
    assert list(students()) == ['swin-micro', 'swin-tiny', 'vit-micro', 'vit-small']
