"""simmim prune on tiny checkpoints: what it writes trains on, in detectors and segmenters, too."""

from copy import deepcopy

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from vis_toys import save_checkpoint, tiny_config, write_photos

from simmim_mm.catalog import configs_folder
from simmim_mm.checkpoint import load_weights
from simmim_mm.cli import main
from simmim_mm.compression import count_operations, prune_checkpoint
from simmim_mm.evaluation.features import FeatureExtractor
from simmim_mm.experiments.downstream import downstream_config
from simmim_mm.experiments.labeled_data import LabeledData, Split
from simmim_mm.registry import MODELS

ARCH = dict(embed_dims=16, depths=[1, 1, 2, 1], num_heads=[2, 2, 4, 4])
BACKBONES = {
    'swin': dict(type='MaskedSwin', arch=ARCH, img_size=64, patch_size=4, window_size=4),
    'vit': dict(
        type='MaskedViT',
        arch=dict(embed_dims=32, num_layers=2, num_heads=4, feedforward_channels=128),
        img_size=(32, 48),
        patch_size=8,
    ),
    'beit': dict(
        type='MaskedBEiT',
        arch=dict(embed_dims=32, num_layers=2, num_heads=4, feedforward_channels=128),
        img_size=(32, 48),
        patch_size=8,
    ),
    'convnext': dict(type='MaskedConvNeXt', arch=dict(depths=[1] * 4, channels=[16, 16, 32, 32])),
    'resnet': dict(type='MaskedResNet', depth=18, base_channels=8, stem_channels=8),
}


def pretraining(folder, name: str, channels: int = 3) -> str:
    """Checkpoint of a pretraining with a tiny backbone, and its photographs in ``images``."""
    size = (32, 48) if name in ('vit', 'beit') else (64, 96)
    cfg = tiny_config(size=size)
    cfg.model.backbone = BACKBONES[name]
    if channels != 3:
        cfg.model.data_preprocessor.update(mean=[120.0] * channels, std=[60.0] * channels)
    cfg.model.neck = dict(type='PixelShuffleDecoder')
    for step in cfg.train_dataloader.dataset.pipeline:
        if 'mask_patch_size' in step:
            step.mask_patch_size = size[0] // 2
    cfg.train_dataloader.update(
        num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True), drop_last=False
    )
    cfg.optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-3))
    cfg.train_cfg = dict(by_epoch=True, max_epochs=20)
    if not (folder / 'images').exists():
        write_photos(folder / 'images')
    return save_checkpoint(folder / f'{name}.pth', cfg)


@pytest.mark.parametrize(
    ('name', 'images'), [*((name, True) for name in BACKBONES), ('swin', False), ('resnet', False)]
)
def test_writes_a_checkpoint_of_that_cost(name, images, tmp_path):
    """And everything behind the backbone stays."""
    path, out = pretraining(tmp_path, name), tmp_path / 'new' / 'pruned.pth'
    folder = tmp_path / 'images' if images else None
    ratio = dict(operations=0.6) if images else dict(parameters=0.6)
    report = prune_checkpoint(path, out, images=folder, batch_size=2, **ratio)
    extract = FeatureExtractor.from_checkpoint(out)
    backbone, (before, after) = extract.backbone, report.operations
    assert count_operations(backbone, report.shape) == after
    parameters = sum(p.numel() for p in backbone.parameters())
    assert parameters == report.parameters[1]
    before, after = report.operations if images else report.parameters
    assert 0.45 * before < after <= 0.6 * before
    assert report.difference < 1e-5
    files = sorted(map(str, (tmp_path / 'images').iterdir()))
    dense = FeatureExtractor.from_checkpoint(path)(files)
    assert extract(files).shape == dense.shape and not torch.allclose(extract(files), dense)
    old, new = (load_weights(file)['state_dict'] for file in (path, out))
    for key in [key for key in old if not key.startswith('backbone.')]:
        assert torch.equal(old[key], new[key])
    again = prune_checkpoint(path, out, images=folder, batch_size=2, overwrite=True, **ratio)
    assert again.backbone == report.backbone  # nothing is left to chance


def test_channels_that_the_statistics_alone_tell(tmp_path):
    out = tmp_path / 'pruned.pth'
    report = prune_checkpoint(pretraining(tmp_path, 'swin', channels=5), out, parameters=0.6)
    assert report.shape[1] == report.backbone['in_channels'] == 5 and report.difference < 1e-5


def test_the_command_writes_a_config_that_recovers(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = pretraining(tmp_path, 'vit')
    main(['prune', path, '--operations', '0.5', '--images', 'images', '--num', '2'])
    out = capsys.readouterr().out
    assert 'wrote pruned.pth and pruned.py' in out and 'simmim_mm.MaskedViT' in out
    assert Config.fromfile('pruned.py').train_cfg.max_epochs == 2  # a tenth
    main(['train', 'pruned.py', '--work-dir', 'run'])
    start, end = (load_weights(f)['state_dict'] for f in ('pruned.pth', 'run/epoch_2.pth'))
    assert start.keys() == end.keys()
    key = 'backbone.layers.0.ffn.layers.1.weight'
    assert start[key].shape == end[key].shape and not torch.equal(start[key], end[key])
    with pytest.raises(SystemExit):
        main(['prune', path, '--operations', '0.5'])
    assert 'pruned.pth exists' in capsys.readouterr().err


DENSE = 'detection', 'segmentation'


@pytest.mark.parametrize(
    ('name', 'tasks'), [('swin', DENSE), ('resnet', DENSE), ('vit', DENSE[:1])]
)
def test_a_detector_and_a_segmenter_take_it(name, tasks, tmp_path):
    """By ``init_cfg`` and the arguments of the report; a training step changes its weights."""
    pytest.importorskip('mmcv.ops', reason='mmdet needs the compiled operators of mmcv')
    from mmdet.structures import DetDataSample
    from mmengine.registry import MODELS as ALL
    from mmengine.structures import InstanceData, PixelData
    from mmseg.structures import SegDataSample

    out, split = tmp_path / 'pruned.pth', Split(tmp_path, tmp_path)
    report = prune_checkpoint(pretraining(tmp_path, name), out, parameters=0.6)
    data = LabeledData(('cat', 'dog', 'cow'), split, split, num_images=(1, 1))
    boxes = InstanceData(bboxes=torch.tensor([[4.0, 4, 40, 50]]), labels=torch.tensor([0]))
    shape = dict(img_shape=(64, 64), ori_shape=(64, 64), batch_input_shape=(64, 64))
    found = DetDataSample(metainfo=dict(shape, scale_factor=(1.0, 1.0)), gt_instances=boxes)
    classes = PixelData(data=torch.randint(0, 2, (1, 64, 64)))
    labeled = SegDataSample(metainfo=dict(shape, pad_shape=(64, 64)), gt_sem_seg=classes)
    stored = load_weights(out)['state_dict']
    for task, sample in zip(tasks, (found, labeled)):
        cfg = downstream_config(task, configs_folder(), report.backbone, {}, data)
        init = dict(type='Pretrained', checkpoint=str(out), prefix='backbone.')
        cfg.model.backbone.init_cfg = init
        if task == 'segmentation':
            cfg.model.data_preprocessor.size = (64, 64)
        init_default_scope(cfg.default_scope)
        model = ALL.build(cfg.model)
        model.init_weights()
        own = model.backbone.state_dict()
        parts = [part.tensor for group in model.backbone.unit_groups() for part in group.parts]
        for key in (k for k in parts if not k.endswith('bias_table')):  # resized with the windows
            torch.testing.assert_close(own[key], stored[f'backbone.{key}'])
        model.train()
        inputs = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
        batch = dict(inputs=[inputs] * 2, data_samples=[sample, deepcopy(sample)])
        prepared = model.data_preprocessor(batch, True)
        loss, _ = model.parse_losses(model(**prepared, mode='loss'))
        loss.backward()
        for group in model.backbone.unit_groups():
            assert model.backbone.get_parameter(group.parts[-1].tensor).grad.any()


def failing(run, *arguments) -> str:
    with pytest.raises(SystemExit) as stop:
        main(['prune', *map(str, arguments)])
    assert stop.value.code == 2
    return run.readouterr().err


def test_wrong_input_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = pretraining(tmp_path, 'vit')
    half = '--operations', 0.5
    assert 'between 0 and 1, got 1.5' in failing(capsys, path, '--operations', 1.5)
    assert 'between 0 and 1, got 0' in failing(capsys, path, '--parameters', 0)
    assert 'a ratio of 0.01 is not reached' in failing(capsys, path, '--operations', 0.01)
    assert 'not allowed with' in failing(capsys, path, *half, '--parameters', 0.5)
    assert 'no checkpoint file' in failing(capsys, 'none.pth', *half)
    assert 'nowhere' in failing(capsys, path, *half, '--images', 'nowhere')
    assert '--img-size takes' in failing(capsys, path, *half, '--img-size', 0)
    assert '--num must be' in failing(capsys, path, *half, '--images', 'images', '--num', 0)

    checkpoint = torch.load(path)
    for name, changes, expected in (
        ('plain', dict(meta={}), 'carries no config'),
        ('other', None, 'lacks'),
    ):
        state = checkpoint['state_dict']
        if changes is None:  # of another architecture
            state = {k.replace('layers.0', 'layers.7'): v for k, v in state.items()}
        torch.save({**checkpoint, 'state_dict': state, **(changes or {})}, f'{name}.pth')
        error = failing(capsys, f'{name}.pth', *half)
        assert expected in error and f'{name}.pth' in error
    cfg = tiny_config()
    other = dict(type='mmpretrain.PoolFormer', arch='s12', out_indices=(6,))
    cfg.model.backbone = dict(type='MaskedBackbone', backbone=other)
    cfg.model.neck = dict(type='PixelShuffleDecoder')
    save_checkpoint('adapted.pth', cfg)
    assert 'has no units to prune' in failing(capsys, 'adapted.pth', *half)


def test_a_classifier_is_pruned_by_its_weights(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = tiny_config()
    backbone = dict(BACKBONES['resnet'], type='simmim_mm.MaskedResNet')
    cfg.model = dict(type='mmpretrain.ImageClassifier', backbone=backbone)
    state = {f'backbone.{k}': v for k, v in MODELS.build(backbone).state_dict().items()}
    state['head.fc.weight'] = torch.ones(2, 64)
    torch.save(dict(meta=dict(cfg=cfg.pretty_text), state_dict=state), 'classifier.pth')
    half = 'classifier.pth', '--operations', '0.5'
    assert 'classifier.pth holds a mmpretrain.ImageClassifier: the loss on --images' in failing(
        capsys, *half, '--images', '.'
    )
    main(['prune', *half])
    new = load_weights('pruned.pth')['state_dict']
    assert new.keys() == state.keys() and torch.equal(new['head.fc.weight'], torch.ones(2, 64))
