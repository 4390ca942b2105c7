"""What a training will take, against what it takes."""

import numpy as np
import pytest
from mmengine.config import Config
from tiny_pretraining import SWIN

from simmim_mm.cli import main
from simmim_mm.pretraining.budget import Footprint, make_budget, measure_footprint
from simmim_mm.registry import MODELS


@pytest.fixture
def cfg(folder) -> Config:
    pipeline = [
        dict(type='LoadImage'),
        dict(type='RandomResizedCrop', scale=32),
        dict(type='RandomBlockMask', mask_patch_size=8, mask_ratio=0.5),
        dict(type='mmpretrain.PackInputs', algorithm_keys=['mask']),
    ]
    return Config(
        dict(
            default_scope='simmim_mm',
            model=SWIN,
            train_dataloader=dict(
                batch_size=8,
                num_workers=0,
                sampler=dict(type='ReproducibleSampler', shuffle=True),
                dataset=dict(type='ImageDataset', data_root=str(folder), pipeline=pipeline),
            ),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
            train_cfg=dict(type='EpochTrainLoop', max_epochs=3),
            default_hooks=dict(checkpoint=dict(interval=1, max_keep_ckpts=2)),
        )
    )


def test_memory_of_few_images_tells_that_of_many(cfg):
    footprint = measure_footprint(cfg, images=(2, 4))
    many = measure_footprint(cfg, images=(6, 12))
    for images in (1, 8, 12, 100):
        assert footprint.at(images).total == pytest.approx(many.at(images).total, rel=0.01)

    trained = [p for p in MODELS.build(SWIN).parameters() if p.requires_grad]
    numbers = sum(p.numel() for p in trained)
    # float32, of which AdamW has two, and a count of steps for each tensor
    assert footprint.gradients == 4 * numbers
    assert footprint.optimizer == 8 * numbers + 4 * len(trained)
    # at least what the loss needs of the pixels: prediction and target
    assert footprint.per_image.max() > 2 * 4 * 3 * 32 * 32

    checkpointed = measure_footprint(Config(dict(cfg, checkpoint_activations=True)))
    assert checkpointed.at(64).activations < 0.7 * footprint.at(64).activations


def test_highest_moment_need_not_be_the_same_for_all_numbers_of_images():
    """Two moments: 100 + 10 n and 400 + n bytes; they meet at a third of a hundred."""
    footprint = Footprint(40, 30, 20, 5, np.array([100.0, 400.0]), np.array([10.0, 1.0]))
    assert footprint.at(10) == (40, 30, 20, 0, 410 - 90)
    assert footprint.at(100) == (40, 30, 20, 0, 1100 - 90)
    # DDP holds gradients a second time, in its buckets; shards are quarters, and three blocks whole
    assert footprint.at(100, 4) == (40, 30, 20, 30, 1010)
    assert footprint.at(100, 4, sharded=True) == (10, 8, 5, 15, 1010)
    assert footprint.fitting(1100) == 100
    assert footprint.fitting(1099) == 99
    assert footprint.fitting(400) == 0


def test_days_and_disk(cfg):
    footprint = Footprint(40, 30, 20, 5, np.array([100.0]), np.array([10.0]))
    budget = make_budget(cfg, footprint, 50.0, 1000, 4, gpu_memory=1000, image_bytes=7)
    # 3 epochs of ceil(1000 / 32) steps of 8 images in each process
    assert budget.seconds == pytest.approx(3 * 32 * 8 / 50)
    assert budget.rate == 200
    # a tenth of 1000 stays free: 900 = 100 + 30 of the buckets + 10 n
    assert budget.fitting == 77
    assert (budget.checkpoint, budget.kept, budget.data) == (60, 3, 7000)
    cfg.default_hooks.checkpoint.update(by_epoch=False, interval=40, max_keep_ckpts=-1)
    assert make_budget(cfg, footprint, 50.0, 1000, 4).kept == 3  # of 96 steps


def test_command_says_what_fits(cfg, folder, tmp_path, capsys):
    config = tmp_path / 'tiny.py'
    cfg.dump(str(config))
    options = ['--data', str(folder), '--images-per-second', '100', '--gpus', '2', '--sharded']
    main(['plan', str(config), *options, '--gpu-memory', '0.001'])
    text = capsys.readouterr().out
    assert 'Memory of each of 2 processes, sharded, at 8 images' in text
    assert 'Batch of a step: 16 images' in text
    assert 'Speed: 200 images per second, 100.0 of each process, as given' in text
    assert 'accumulative_counts=' in text
    assert 'Time: 0.0 days, 0.0 hours, for 3 epochs of 14 images' in text


@pytest.mark.parametrize(
    'args, message',
    [
        (['tiny.py', '--images-per-second', '1'], 'of how many images is an epoch'),
        (['tiny.py', '--images', '5', '--gpus', '0'], '--gpus must be above 0, got 0'),
    ],
)
def test_what_is_missing_is_said(cfg, tmp_path, monkeypatch, capsys, args, message):
    monkeypatch.chdir(tmp_path)
    cfg.dump('tiny.py')
    with pytest.raises(SystemExit):
        main(['plan', *args])
    assert message in capsys.readouterr().err


def test_only_pretrainings_are_planned(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Config(dict(model=dict(type='mmpretrain.ImageClassifier'))).dump('other.py')
    with pytest.raises(SystemExit):
        main(['plan', 'other.py', '--images', '5'])
    assert 'other.py is no config of a pretraining' in capsys.readouterr().err
