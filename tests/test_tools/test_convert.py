import re
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope

from simmim_mm.checkpoint import load_weights
from simmim_mm.cli import main
from simmim_mm.interop import model_config, revert
from simmim_mm.registry import MODELS

VIT = dict(
    encoder=dict(
        img_size=64,
        patch_size=16,
        in_chans=3,
        embed_dim=16,
        depth=2,
        num_heads=2,
        init_values=0.1,
    ),
    encoder_stride=16,
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file as the authors write it, of random weights."""
    init_default_scope('simmim_mm')
    torch.manual_seed(0)
    model = MODELS.build(model_config('simmim_vit', VIT))
    weights = {k: torch.randn_like(v) for k, v in model.named_parameters()}
    torch.save(dict(model=revert(weights, 'simmim_vit'), epoch=99), tmp_path / 'theirs.pth')
    return tmp_path / 'theirs.pth'


def run(*args) -> None:
    main(['convert', *map(str, args)])


def test_converted_file_draws_images_without_a_config(source, tmp_path, monkeypatch, capsys):
    from PIL import Image

    from simmim_mm.visualization.reconstructor import Reconstructor

    run(source, tmp_path / 'ours.pth', '--config-out', tmp_path / 'config.py')
    printed = capsys.readouterr().out
    assert re.search(r'(\d+) of \1 weights loaded', printed) and 'SimMIM ViT' in printed
    assert 'missing' not in printed and 'left over' not in printed

    ours = load_weights(tmp_path / 'ours.pth')
    theirs = torch.load(source, weights_only=True)['model']
    for name, tensor in revert(ours['state_dict'], 'simmim_vit').items():
        if name in theirs:
            assert torch.equal(tensor, theirs[name]), name

    Image.new('RGB', (80, 70), (200, 30, 90)).save(tmp_path / 'image.png')
    reconstructor = Reconstructor.from_checkpoint(tmp_path / 'ours.pth')
    assert not reconstructor.missing
    pictures = reconstructor.reconstruct([tmp_path / 'image.png'])
    assert pictures['reconstruction'].shape == (1, 3, 64, 64)

    from mmengine.config import Config

    assert Config.fromfile(tmp_path / 'config.py').model.backbone.img_size == 64


def test_mmpretrain_loads_the_backbone_as_it_is(source, tmp_path, monkeypatch):
    from mmpretrain.models import BEiTViT

    run(source, tmp_path / 'ours.pth')
    arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=64)
    backbone = BEiTViT(
        arch=arch,
        img_size=64,
        out_type='featmap',
        final_norm=True,
        use_rel_pos_bias=False,
        use_shared_rel_pos_bias=True,
        init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'ours.pth'), prefix='backbone.'),
    )
    backbone.init_weights()
    ours = load_weights(tmp_path / 'ours.pth')['state_dict']
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, ours[f'backbone.{name}']), name


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['theirs.pth', 'old.pth'], r'old\.pth exists.*--force'),
        (['theirs.pth', 'new.pth', '--family', 'resnet'], r"unknown family 'resnet'"),
        (['theirs.pth', 'new.pth', '--args', 'heads=3'], r'no argument heads.*num_heads'),
        (['theirs.pth', 'new.pth', '--args', 'num_heads=5'], r'theirs\.pth does not fit'),
        (['theirs.pth', 'new.pth', '--family', 'mae'], r'patch_embed\.proj\.weight'),
        (['text.pth', 'new.pth'], r'text\.pth.*text'),
        (['other.pth', 'new.pth'], r'no known family.*fc\.weight'),
        (['nowhere.pth', 'new.pth'], r'no checkpoint file.*nowhere\.pth'),
        (['part.pth', 'new.pth'], r'part\.pth.*norm1'),
        (['nan.pth', 'new.pth'], r'nan\.pth holds NaN or infinity in 1 of'),
    ],
)
def test_one_line_and_code_2(source, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    Path('old.pth').write_bytes(b'precious')
    Path('text.pth').write_text('no weights here')
    torch.save({'fc.weight': torch.zeros(1)}, 'other.pth')
    weights = torch.load(source, weights_only=True)['model']
    del weights['encoder.blocks.1.norm1.weight']
    torch.save(weights, 'part.pth')
    weights = torch.load(source, weights_only=True)['model']
    weights['encoder.blocks.1.norm1.weight'][0] = torch.inf
    torch.save(weights, 'nan.pth')
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    error = capsys.readouterr().err.strip().splitlines()
    assert stop.value.code == 2
    assert re.search(message.replace('norm1', 'ln1'), error[0]), error
    assert Path('old.pth').read_bytes() == b'precious' and not Path('new.pth').exists()


def test_force_replaces(source, tmp_path, monkeypatch):
    (tmp_path / 'old.pth').write_bytes(b'old')
    run(source, tmp_path / 'old.pth', '--force')
    assert load_weights(tmp_path / 'old.pth')['meta']['family'] == 'simmim_vit'


def test_a_file_without_decoder_keeps_it_missing(source, tmp_path, monkeypatch, capsys):
    weights = torch.load(source, weights_only=True)['model']
    torch.save({k: v for k, v in weights.items() if 'decoder' not in k}, source)
    run(source, tmp_path / 'ours.pth')
    assert 'no decoder' in capsys.readouterr().out
    state = load_weights(tmp_path / 'ours.pth')['state_dict']
    assert not any(name.startswith('neck.') for name in state)
