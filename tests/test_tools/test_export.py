"""simmim export on checkpoints of tiny backbones."""

import importlib.util
import re
from pathlib import Path

import pytest
import torch

from simmim_mm.checkpoint import load_weights
from simmim_mm.cli import main

ROOT = Path(__file__).parents[2]


def _module(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


toys = _module(ROOT / 'tests' / 'test_interop' / 'export_toys.py')


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Call the tool in a folder with checkpoints."""
    monkeypatch.chdir(tmp_path)
    toys.save(tmp_path / 'swin.pth', 'MaskedSwin')
    toys.save(tmp_path / 'vit.pth', 'MaskedViT')

    def call(*args) -> None:
        main(['export', *map(str, args)])

    return call


def test_prints_what_to_paste_and_what_starts_fresh(run, capsys):
    pytest.importorskip('mmdet', exc_type=ImportError)
    run('swin.pth', '--to', 'mmdet', '--window', 7, '-o', 'new/det.pth', '--verify')
    out = capsys.readouterr().out
    assert re.search(r"verified: mmdet's own SwinTransformer.*difference \d\.\de-1\d", out)
    assert 'window_size=7' in out and 'convert_weights=False' in out
    assert 'Starts fresh: norm0.*, norm1.*, norm2.*' in out and '(49, 2) to (169, 2)' in out
    assert 'mean [120.0, 110.0, 100.0]' in out
    state = load_weights('new/det.pth')['state_dict']
    assert all(name.startswith('backbone.') for name in state)
    assert not any('mask_token' in name or 'index' in name for name in state)


def test_writes_safetensors_of_another_size(run):
    run('vit.pth', '--to', 'mmseg', '--img-size', 48, '64', '-o', 'seg.safetensors')
    state = load_weights('seg.safetensors')
    assert state['pos_embed'].shape == (1, 1 + 6 * 8, 16)
    assert state['layers.0.attn.attn.in_proj_weight'].shape == (48, 16)


def test_an_export_is_repeated_only_with_force(run, capsys):
    run('vit.pth', '--to', 'huggingface', '-o', 'folder')
    first = Path('folder/model.safetensors').read_bytes()
    with pytest.raises(SystemExit):
        run('vit.pth', '--to', 'huggingface', '-o', 'folder')
    assert '--force' in capsys.readouterr().err
    run('vit.pth', '--to', 'huggingface', '-o', 'folder', '--force')
    assert Path('folder/model.safetensors').read_bytes() == first


def test_a_converted_checkpoint_will_do(run, monkeypatch, capsys):
    """From the authors' names to ours, and on to mmpretrain."""
    from simmim_mm.interop import convert_checkpoint, revert

    state = load_weights('swin.pth')['state_dict']
    state = {k: v for k, v in state.items() if k.startswith('backbone.')}
    state['neck.decoder.0.weight'] = torch.zeros(32**2 * 3, 64, 1, 1)
    state['neck.decoder.0.bias'] = torch.zeros(32**2 * 3)
    torch.save({'model': revert(state, 'simmim_swin')}, 'official.pth')
    convert_checkpoint('official.pth', 'ours.pth', arguments=dict(img_size=128))
    run('ours.pth', '--to', 'mmpretrain', '-o', 'pre.pth', '--verify')
    exported = load_weights('pre.pth')['state_dict']
    for name, tensor in exported.items():
        assert torch.equal(tensor, state[name]), name


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['gone.pth', '--to', 'timm'], r'no checkpoint file.*gone\.pth'),
        (['text.pth', '--to', 'timm'], r'text\.pth.*looks like text'),
        (['head.pth', '--to', 'timm'], r'head\.pth has no weights of a backbone.*fc\.weight'),
        (['bare.pth', '--to', 'timm'], r'bare\.pth carries no config'),
        (['part.pth', '--to', 'timm'], r'part\.pth lacks 2 weights.*backbone\.norm3'),
        (['theirs.pth', '--to', 'timm'], r'theirs\.pth is a ResNet, not one of ours'),
        (['code.pth', '--to', 'timm'], r'code\.pth is not read: line 1 is code'),
        (['nan.pth', '--to', 'timm'], r'nan\.pth holds NaN or infinity in 1 of'),
        (['swin.pth', '--to', 'keras'], r"--to must be one of mmpretrain.*'keras'"),
        (['swin.pth', '--to', 'mmdet', '--window', '0'], r'--window must be at least 1, got 0'),
        (['swin.pth', '--to', 'mmdet', '--img-size', '1', '2', '3'], r'got 3 numbers'),
        (['vit.pth', '--to', 'mmdet'], r'mmdet has no plain ViT'),
        (['vit.pth', '--to', 'timm', '--img-size', '3'], r'multiples of 8'),
        (['swin.pth', '--to', 'mmdet', '-o', 'swin.pth'], r'swin\.pth exists.*--force'),
        (['swin.pth', '--to', 'mmdet', '-o', 'x.pt'], r'x\.pt must end in \.pth'),
        (['vit.pth', '--to', 'huggingface', '-o', 'x.pth'], r'reads a folder'),
        (['swin.pth', '--to', 'mmdet', '-o', 'text.pth/x.pth'], r'cannot write text\.pth/x\.pth'),
    ],
)
def test_one_line_and_code_2(run, capsys, arguments, message):
    Path('text.pth').write_text('no weights here')
    torch.save({'fc.weight': torch.zeros(1)}, 'head.pth')
    torch.save({'state_dict': load_weights('swin.pth')['state_dict']}, 'bare.pth')
    toys.save(Path('part.pth'), 'MaskedSwin', drop='backbone.norm3')
    toys.save(Path('theirs.pth'), 'MaskedSwin', text="model = dict(backbone=dict(type='ResNet'))")
    toys.save(Path('code.pth'), 'MaskedSwin', text='import os')
    spoiled = torch.load('swin.pth', weights_only=True)
    spoiled['state_dict']['backbone.norm3.weight'][0] = torch.nan
    torch.save(spoiled, 'nan.pth')
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        run(*arguments, *([] if '-o' in arguments else ['-o', 'out.pth']))
    error = capsys.readouterr().err.strip().splitlines()
    assert stop.value.code == 2
    assert re.search(message, error[0]), error
    assert not Path('out.pth').exists()
