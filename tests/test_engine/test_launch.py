from copy import deepcopy

import pytest
import torch
from mmengine.config import Config
from vis_toys import tiny_config
from yapf.yapflib import yapf_api

from simmim_mm.datasets import ImageDataset
from simmim_mm.engine.launch import (
    build_runner,
    complete_validation,
    launched_rank,
    prepare_cpu_launch,
)

on_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason='the CPU path, without a GPU')


@pytest.mark.parametrize(
    'launcher, variable',
    [('pytorch', 'RANK'), ('slurm', 'SLURM_PROCID'), ('mpi', 'OMPI_COMM_WORLD_RANK')],
)
def test_rank_before_the_processes_are_connected(monkeypatch, launcher, variable):
    monkeypatch.setenv(variable, '3')
    assert launched_rank(launcher) == 3
    assert launched_rank('none') == 0


def test_single_process_is_left_alone():
    cfg = Config(dict(launcher='none'))
    prepare_cpu_launch(cfg)
    assert 'model_wrapper_cfg' not in cfg and not torch.distributed.is_initialized()


@on_cpu
def test_missing_launcher_is_named(monkeypatch):
    monkeypatch.delenv('SLURM_PROCID', raising=False)
    with pytest.raises(ValueError, match=r'SLURM_PROCID.* not set: start the processes with srun'):
        prepare_cpu_launch(Config(dict(launcher='slurm')))


@on_cpu
@pytest.mark.parametrize('launcher', ['mpi', 'pytorch'])
def test_connects_over_gloo_and_wraps_for_the_cpu(monkeypatch, launcher):
    names = dict(
        mpi=['OMPI_COMM_WORLD_' + n for n in ('RANK', 'SIZE', 'LOCAL_RANK')],
        pytorch=['RANK', 'WORLD_SIZE', 'LOCAL_RANK'],
    )[launcher]
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'):
        monkeypatch.setenv(name, 'overwritten')
    for name, value in zip(names, '010'):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv('MASTER_ADDR', '127.0.0.1')
    monkeypatch.setenv('MASTER_PORT', '29688')
    cfg = Config(dict(launcher=launcher, find_unused_parameters=True))
    try:
        prepare_cpu_launch(cfg)
        assert torch.distributed.get_backend() == 'gloo'
    finally:
        torch.distributed.destroy_process_group()
    assert cfg.model_wrapper_cfg.device_ids is None
    assert cfg.model_wrapper_cfg.find_unused_parameters is True


def test_a_runner_takes_data_sets_as_they_are_built(folder, tmp_path, monkeypatch):
    dataset = ImageDataset(str(folder))
    cfg = Config(
        dict(
            default_scope='mmengine',
            work_dir=str(tmp_path),
            model=dict(type='ToyModel'),
            train_dataloader=dict(
                dataset=dict(type='simmim_mm.ImageDataset', data_root=str(folder)),
                batch_size=2,
                sampler=dict(type='DefaultSampler', shuffle=True),
                collate_fn=dict(type='pseudo_collate'),
            ),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        )
    )
    cfg.model = dict(type='mmengine.BaseDataPreprocessor')
    text = cfg.pretty_text
    runner = build_runner(cfg, dict(train_dataloader=dataset))
    loader = runner.build_train_loop(cfg.train_cfg).dataloader
    assert loader.dataset is dataset and loader.batch_size == 2
    # not a copy: the list of a million files is there once, and its file status is shared
    assert cfg.pretty_text == text == runner.cfg.pretty_text

    formatted = []
    monkeypatch.setattr(yapf_api, 'FormatCode', lambda text, **_: (text, formatted.append(text)))
    assert deepcopy(runner.cfg).pretty_text == text and not formatted
    runner.cfg.train_cfg.max_epochs = 2  # the attribute of a part
    assert 'max_epochs=2' in runner.cfg.pretty_text and len(formatted) == 1


def test_a_pretraining_runs_compiled(folder, tmp_path):
    """mmengine would compile train_step, in which the compiler fails."""
    cfg = tiny_config()
    cfg.train_dataloader.update(num_workers=0, batch_size=7, drop_last=True)
    cfg.train_dataloader.update(sampler=dict(type='ReproducibleSampler', shuffle=True))
    cfg.train_dataloader.dataset.data_root = str(folder)
    cfg.merge_from_dict(
        dict(
            work_dir=str(tmp_path / 'run'),
            compile=dict(backend='aot_eager'),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            optim_wrapper=dict(
                type='AmpOptimWrapper', optimizer=dict(type='AdamW', lr=1e-3), dtype='bfloat16'
            ),
        )
    )
    runner = build_runner(cfg, {})
    before = [p.detach().clone() for p in runner.model.parameters()]
    runner.train()
    assert not all(map(torch.equal, before, runner.model.parameters()))
    assert runner.cfg.model.compile == dict(backend='aot_eager')
    torch.compiler.reset()


def _pretraining(**settings) -> Config:
    steps = [dict(type='RandomResizedCrop', scale=32), dict(type='mmpretrain.RandomFlip', prob=0.5)]
    steps += [dict(type='RandomBlockMask', mask_patch_size=8)]
    dataset = dict(type='ImageDataset', data_root='images', pipeline=steps)
    return Config(dict(train_dataloader=dict(batch_size=3, dataset=dataset), **settings))


@pytest.mark.parametrize('deleted', [dict(), dict(_delete_=True)])  # version 0.1 needed it
def test_a_folder_is_all_that_a_validation_needs(deleted):
    loader = dict(dataset=dict(data_root='held-out'), **deleted)
    cfg = _pretraining(val_dataloader=loader, val_cfg=deleted or None)
    complete_validation(cfg)
    dataset = cfg.val_dataloader.dataset
    assert (dataset.type, dataset.data_root) == ('ImageDataset', 'held-out')
    assert [step.type for step in dataset.pipeline] == [
        'simmim_mm.RandomResizedCrop',
        'RandomBlockMask',
    ]
    assert dataset.pipeline[0].max_attempts == 0  # the center
    assert cfg.val_dataloader.batch_size == 3 and cfg.val_dataloader.sampler.fixed
    assert cfg.val_cfg == {} and cfg.val_evaluator == dict(type='MaskedLoss')
    assert '_delete_' not in cfg.val_dataloader


def test_what_a_validation_says_stays_and_without_one_there_is_none():
    dataset = dict(type='ImageDataset', data_root='a', pipeline=[dict(type='LoadImage')])
    cfg = _pretraining(
        val_dataloader=dict(batch_size=7, dataset=dataset), val_evaluator=dict(type='ForegroundIoU')
    )
    complete_validation(cfg)
    assert cfg.val_dataloader.dataset == dataset and cfg.val_dataloader.batch_size == 7
    assert cfg.val_evaluator.type == 'ForegroundIoU'
    cfg = _pretraining()
    complete_validation(cfg)
    assert 'val_dataloader' not in cfg


@pytest.mark.parametrize(
    ('schedule', 'place'),
    [
        (
            [dict(type='LinearLR', end=1), dict(type='CosineAnnealingLR', begin=1, end=1)],
            r'param_scheduler\.1 \(CosineAnnealingLR\) begins at 1 and ends at 1',
        ),
        (dict(type='ConstantLR', begin=3, end=2), r'param_scheduler \(ConstantLR\)'),
        (dict(generator=[dict(type='StepLR', end=0)]), r'param_scheduler\.generator\.0 \(StepLR\)'),
    ],
)
def test_a_scheduler_that_ends_before_it_begins_is_named(schedule, place):
    """As in a config with a warm-up of an epoch, trained for one epoch."""
    cfg = tiny_config()
    cfg.param_scheduler = schedule
    with pytest.raises(ValueError, match=place):
        build_runner(cfg, {})
