"""kNN during a pretraining: told apart what can be, and the training does not notice."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image

from simmim_mm.cli import main
from simmim_mm.datasets.errors import DataError
from simmim_mm.evaluation.features import FeatureExtractor
from simmim_mm.evaluation.knn import knn_accuracy, load_split

STEPS = [
    dict(type='LoadImage'),
    dict(type='RandomResizedCrop', scale=32, crop_ratio_range=(0.3, 1.0)),
    dict(type='mmpretrain.RandomFlip', prob=0.5),
    dict(type='RandomBlockMask', mask_patch_size=16, mask_ratio=0.5),
    dict(type='mmpretrain.PackInputs', algorithm_keys=['mask']),
]


def config(root, work_dir, **settings) -> Config:
    arch = dict(embed_dims=16, num_layers=1, num_heads=2, feedforward_channels=32)
    return Config(
        dict(
            default_scope='simmim_mm',
            work_dir=str(work_dir),
            experiment_name=str(work_dir).replace('/', '_'),
            model=dict(
                type='MaskedImageModel',
                data_preprocessor=dict(
                    type='MIMDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3
                ),
                backbone=dict(
                    type='MaskedViT',
                    arch=arch,
                    img_size=32,
                    patch_size=8,
                    drop_path_rate=0.5,
                    drop_rate=0.2,
                ),
                neck=dict(type='PixelShuffleDecoder', in_channels=16, stride=8),
                head=dict(type='PixelHead'),
            ),
            train_dataloader=dict(
                batch_size=4,
                num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=True),  # draws from the global state
                dataset=dict(type='ImageDataset', data_root=str(root), pipeline=STEPS),
            ),
            train_cfg=dict(by_epoch=True, max_epochs=3),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
            default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
            visualizer=dict(
                type='Visualizer', vis_backends=[dict(type='LocalVisBackend')], name=str(work_dir)
            ),
            randomness=dict(seed=2),
            log_level='ERROR',
            **settings,
        )
    )


@pytest.fixture
def root(tmp_path):
    """Bright and dark images, 8 of each."""
    rng = np.random.default_rng(0)
    for name, level in (('bright', 190), ('dark', 60)):
        (tmp_path / 'data' / name).mkdir(parents=True)
        for i in range(8):
            pixels = rng.normal(level, 20, (40, 48, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / 'data' / name / f'{i}.png')
    return tmp_path / 'data'


def train(cfg) -> Runner:
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


@pytest.mark.parametrize('by_epoch', [True, False])
def test_training_does_not_notice(root, tmp_path, by_epoch):
    hook = dict(type='KNNHook', data_root=str(root), by_epoch=by_epoch, k=3, batch_size=3)
    losses, weights = [], []
    for name, hooks in (('without', []), ('with', [hook])):
        runner = train(config(root, tmp_path / name, custom_hooks=hooks))
        losses.append(runner.message_hub.get_scalar('train/loss').data[0].tolist())
        weights.append(runner.model.state_dict())
    assert losses[0] == losses[1] and len(set(losses[0])) == 12
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_the_figure_is_that_of_the_features(root, tmp_path, device):
    hook = dict(type='KNNHook', data_root=str(root), interval=2, k=3)
    runner = train(config(root, tmp_path / 'run', custom_hooks=[hook]))
    (log,) = Path(tmp_path / 'run').glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    found = [(line['step'], line['knn/accuracy']) for line in lines if 'knn/accuracy' in line]
    assert [step for step, _ in found] == [8]  # of 3 epochs of 4 iterations, after the second
    assert found[0][1] == 100.0

    runner.save_checkpoint(str(tmp_path), 'last.pth', save_optimizer=False)
    extract = FeatureExtractor.from_checkpoint(tmp_path / 'last.pth', batch_size=5)
    assert knn_accuracy(extract, *load_split(root), k=3) == 100.0
    path = str(root / 'dark' / '0.png')
    model = runner.model.eval()
    pixels = np.asarray(Image.open(path).crop((4, 0, 44, 40)).resize((32, 32), 2))
    inputs = (torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() - 120) / 60
    with torch.no_grad():
        expected = model.backbone(inputs.to(device))[-1].mean((2, 3)).cpu()
    # torch resizes where it is faster, and rounds some pixels otherwise than Pillow
    torch.testing.assert_close(extract([path]), expected, rtol=0.02, atol=3e-3)


def test_wrong_data_are_told_before_the_training(root, tmp_path):
    hook = dict(type='KNNHook', data_root=str(root / 'nothing'))
    with pytest.raises(DataError, match=r'no folder .*nothing'):
        train(config(root, tmp_path / 'run', custom_hooks=[hook]))


def test_the_tool(root, tmp_path, capsys):
    runner = Runner.from_cfg(config(root, tmp_path / 'run'))
    runner.model.init_weights()
    runner.save_checkpoint(str(tmp_path), 'last.pth', save_optimizer=False, meta={})
    args = ['knn', str(tmp_path / 'last.pth'), str(root), '--k', '1', '3', '--num-workers', '0']
    main(args)
    out = capsys.readouterr().out
    assert '16 images of 2 classes, each by all others' in out
    assert 'k=1: accuracy 100.00%' in out and 'k=3: accuracy 100.00%' in out
