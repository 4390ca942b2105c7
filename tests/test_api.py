"""The Python API from end to end: a few lines each, on tiny checkpoints and photographs."""

import subprocess

import pytest
import torch
from mmengine.config import Config
from vis_toys import save_checkpoint, tiny_config, write_photos

import simmim_mm
from simmim_mm.checkpoint import CheckpointError
from simmim_mm.interop import model_config, revert
from simmim_mm.registry import MODELS

NAME = 'simmim_swin-micro-w6_1xb64-coslr-100e_folder-96px'
SIMMIM_VIT = dict(
    encoder=dict(img_size=64, patch_size=8, in_chans=3, embed_dim=16, depth=2, num_heads=2,
                 init_values=0.1),
    encoder_stride=8,
)  # fmt: skip


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder with photographs, ``run.pth`` and a file of the authors' code, ``official.pth``."""
    folder = tmp_path_factory.mktemp('api')
    write_photos(folder / 'photos')
    save_checkpoint(folder / 'run.pth', tiny_config())
    torch.manual_seed(0)
    model = MODELS.build(dict(model_config('simmim_vit', SIMMIM_VIT), _scope_='simmim_mm'))
    weights = {name: torch.randn_like(p) for name, p in model.named_parameters()}
    torch.save(dict(model=revert(weights, 'simmim_vit')), folder / 'official.pth')
    return folder


def test_the_names_are_listed_and_there_is_nothing_else():
    public = set(dir(simmim_mm))
    assert public >= set(simmim_mm._PUBLIC) and all(hasattr(simmim_mm, n) for n in public)
    # not by getattr: other tests import modules of version 0.1, of the same names
    assert all(simmim_mm.__getattr__(name).__doc__ for name in simmim_mm._PUBLIC)
    with pytest.raises(AttributeError, match='no attribute'):
        _ = simmim_mm.no_such_name


def test_type_checkers_see_the_same_names():
    from pathlib import Path

    stub = Path(simmim_mm.__file__).with_suffix('.pyi').read_text()
    names = {line.rpartition(' ')[2] for line in stub.splitlines() if line.startswith('from')}
    assert names == set(simmim_mm._PUBLIC)


def test_functions_share_names_with_modules_of_version_0_1(python):
    code = (
        'import simmim_mm.convert, simmim_mm.export, simmim_mm\n'
        'for name in ("convert", "export"):\n'
        '    try: getattr(simmim_mm, name)()\n'
        '    except TypeError as error: print(error)\n'
    )
    result = subprocess.run([python, '-c', code], capture_output=True, text=True)
    assert 'convert_checkpoint() missing' in result.stdout, result.stderr
    assert 'export_checkpoint() missing' in result.stdout, result.stderr


def test_a_config_by_its_name_with_other_settings():
    cfg = simmim_mm.get_config(
        NAME,
        data='images',
        epochs=10,
        batch_size=8,
        model=dict(backbone=dict(drop_path_rate=0.3)),
        **{'optim_wrapper.optimizer.lr': 1e-3},
    )
    plain = simmim_mm.get_config(NAME)
    assert cfg.train_dataloader.dataset.data_root == 'images'
    assert cfg.train_dataloader.batch_size == 8 and cfg.train_cfg.max_epochs == 10
    assert cfg.model.backbone.drop_path_rate == 0.3 and cfg.optim_wrapper.optimizer.lr == 1e-3
    assert cfg.model.backbone.type == plain.model.backbone.type
    with pytest.raises(FileNotFoundError, match='did you mean'):
        simmim_mm.get_config(NAME.replace('micro', 'mikro'))
    with pytest.raises(ValueError, match='counts epochs'):
        simmim_mm.get_config(NAME, iters=5)


def test_a_model_with_and_without_weights(folder):
    assert NAME in simmim_mm.list_models('micro')
    model = simmim_mm.get_model(NAME)
    assert type(model).__name__ == 'MaskedImageModel'
    cfg = tiny_config()
    loaded = simmim_mm.get_model(cfg, pretrained=folder / 'run.pth')
    state = torch.load(folder / 'run.pth', weights_only=True)['state_dict']
    assert all(torch.equal(value, state[name]) for name, value in loaded.state_dict().items())
    cfg.model.backbone.arch.num_layers = 2
    with pytest.raises(CheckpointError, match='lacks'):
        simmim_mm.get_model(cfg, pretrained=folder / 'run.pth')


def test_a_model_of_a_downstream_task():
    pytest.importorskip('mmpretrain')
    model = simmim_mm.get_model('finetune_swin-micro-w6_1xb64-coslr-50e_folder-96px')
    assert type(model).__name__ == 'Classifier'


def test_a_backbone_of_a_pretraining(folder):
    backbone, report = simmim_mm.load_backbone(folder / 'run.pth')
    assert report.complete and not backbone.training
    with torch.no_grad():
        (feature,) = backbone(torch.zeros(2, 3, 32, 48))
    assert feature.shape == (2, 32, 4, 6)
    larger, report = simmim_mm.load_backbone(folder / 'run.pth', img_size=(64, 96))
    assert larger(torch.zeros(1, 3, 64, 96))[0].shape == (1, 32, 8, 12) and report.complete


def test_a_backbone_of_other_code(folder, tmp_path):
    backbone, report = simmim_mm.load_backbone(folder / 'official.pth')
    assert type(backbone).__name__ == 'MaskedBEiT' and report.complete
    assert report.file == str(folder / 'official.pth')
    family, _, _ = simmim_mm.convert(folder / 'official.pth', tmp_path / 'converted.pth')
    converted, _ = simmim_mm.load_backbone(tmp_path / 'converted.pth')
    x = torch.rand(1, 3, 64, 64)
    assert family == 'simmim_vit' and torch.equal(backbone(x)[0], converted(x)[0])


def test_what_is_no_checkpoint_is_one_error(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere'):
        simmim_mm.load_backbone(tmp_path / 'nowhere.pth')
    torch.save(dict(state_dict={'a.b': torch.zeros(1)}), tmp_path / 'other.pth')
    with pytest.raises(ValueError, match='no known family'):
        simmim_mm.load_backbone(tmp_path / 'other.pth')
    with pytest.raises(FileNotFoundError, match='no image or folder'):
        simmim_mm.extract_features(folder / 'run.pth', tmp_path / 'nowhere')


def test_reconstructions(folder, tmp_path):
    drawn = simmim_mm.reconstruct(folder / 'run.pth', folder / 'photos', out=tmp_path / 'grid.png')
    assert drawn['reconstruction'].shape == (3, 3, 32, 48) and drawn['mask'].dtype == torch.bool
    kept = ~drawn['mask'].expand(-1, 3, -1, -1)
    assert torch.equal(drawn['reconstruction'][kept], drawn['original'][kept])
    assert (tmp_path / 'grid.png').is_file()
    again = simmim_mm.reconstruct(folder / 'run.pth', folder / 'photos')
    assert torch.equal(again['reconstruction'], drawn['reconstruction'])
    one = simmim_mm.reconstruct(folder / 'official.pth', folder / 'photos' / 'coffee.jpg')
    assert one['target'].shape == (1, 3, 64, 64)


def test_features(folder):
    paths = sorted((folder / 'photos').iterdir())
    features = simmim_mm.extract_features(folder / 'run.pth', folder / 'photos')
    assert features.shape == (3, 32) and features.dtype == torch.float32
    assert torch.equal(features, simmim_mm.extract_features(folder / 'run.pth', paths))
    assert simmim_mm.extract_features(folder / 'official.pth', paths[:1]).shape == (1, 16)
    config = Config.fromstring(tiny_config().pretty_text, '.py')
    torch.testing.assert_close(
        simmim_mm.extract_features(folder / 'run.pth', paths, config=config), features
    )


def test_an_export_that_is_verified(folder, tmp_path):
    simmim_mm.convert(folder / 'official.pth', tmp_path / 'native.pth')
    report = simmim_mm.export(
        tmp_path / 'native.pth', to='mmpretrain', out=tmp_path / 'beit.pth', verify=True
    )
    assert report.verification.difference < 1e-4 and (tmp_path / 'beit.pth').is_file()
    assert 'BEiT' in str(report)
