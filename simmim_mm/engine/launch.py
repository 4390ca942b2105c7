"""Bringing a config to the machine that it runs on: processes, GPUs or none."""

import math
import multiprocessing
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import timedelta
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import MMLogger
from mmengine.model import BaseModel, convert_sync_batchnorm
from mmengine.runner import Runner
from torch import distributed, nn

from simmim_mm._renamed import old_names
from simmim_mm.datasets.evaluation_pipeline import evaluation_pipeline
from simmim_mm.datasets.image_dataset import single_datasets
from simmim_mm.engine.console import keep_console_short
from simmim_mm.engine.sharding import (
    ShardingHook,
    check_shardable,
    computing_dtype,
    recompute_blocks,
    shard,
)
from simmim_mm.engine.unwrap import unwrap
from simmim_mm.models.algorithms import MaskedImageModel
from simmim_mm.registry import MODELS
from simmim_mm.visualization.guarded_backend import guarded

# Where each launcher leaves rank, number of processes, and rank on this machine.
_VARIABLES = dict(
    pytorch=('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    slurm=('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    mpi=('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
)


def launched_rank(launcher: str) -> int:
    """Rank of this process, known before the processes are connected."""
    return 0 if launcher == 'none' else int(os.environ.get(_VARIABLES[launcher][0], 0))


def launched_processes(launcher: str) -> int:
    """Number of processes, known before they are connected."""
    return 1 if launcher == 'none' else int(os.environ.get(_VARIABLES[launcher][1], 1))


def adapt_dataloaders(cfg: Config) -> None:
    """Take back what data loaders cannot do: persist without workers, pin memory without a GPU."""
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = cfg.get(name)
        if loader and not loader.get('num_workers'):
            loader.persistent_workers = False  # torch refuses it
        if loader and not torch.cuda.is_available():
            loader.pin_memory = False  # it only warns


def complete_validation(cfg: Config) -> None:
    """Fill in what the validation of a pretraining does not say.

    ``val_dataloader=dict(dataset=dict(data_root=...))`` is enough: the rest is that of the training
    data, without random steps (:func:`evaluation_pipeline`) and with the same masks in every
    validation, and the loss under the mask.
    """
    loader, train = cfg.get('val_dataloader'), cfg.get('train_dataloader')
    data = (train or {}).get('dataset') or {}
    images = next((part for _, part in single_datasets(data)), {}).get('type') == 'ImageDataset'
    if not loader or not images:
        return
    for setting in (loader, cfg.get('val_cfg') or {}, cfg.get('val_evaluator') or {}):
        if isinstance(setting, dict):
            setting.pop('_delete_', None)  # which recipes for folders needed in version 0.1
    dataset = loader.setdefault('dataset', {})
    dataset.setdefault('type', 'ImageDataset')
    if dataset.type == 'ImageDataset' and not dataset.get('pipeline'):
        dataset.pipeline = evaluation_pipeline(cfg)
    for key in ('batch_size', 'num_workers', 'persistent_workers', 'pin_memory'):
        if key in train:
            loader.setdefault(key, train[key])
    sampler = dict(type='ReproducibleSampler', shuffle=False, fixed=True)
    loader.setdefault('sampler', sampler)
    cfg.val_cfg = cfg.get('val_cfg') or {}
    cfg.val_evaluator = cfg.get('val_evaluator') or dict(type='MaskedLoss')


def prepare_cpu_launch(cfg: Config) -> None:
    """Connect the processes over gloo and have the model wrapped for the CPU.

    mmengine does both for GPUs only. Nothing happens with a GPU or a single process. ``cfg`` has
    ``launcher`` set; ``model_wrapper_cfg`` is filled in where it is missing. ValueError if the
    launcher's environment variables are missing.
    """
    launcher = cfg.get('launcher', 'none')
    if launcher == 'none' or torch.cuda.is_available():
        return
    missing = [name for name in _VARIABLES[launcher] if name not in os.environ]
    if missing:
        raise ValueError(
            f'--launcher {launcher}, but {", ".join(missing)} not set: start the processes with '
            f'{dict(pytorch="torchrun", slurm="srun", mpi="mpirun")[launcher]} '
            '(tools/dist_train.sh, tools/slurm_train.sh)'
        )
    for name, source in zip(_VARIABLES['pytorch'], _VARIABLES[launcher]):
        os.environ[name] = os.environ[source]
    os.environ.setdefault('MASTER_PORT', '29500')
    if launcher == 'slurm' and 'MASTER_ADDR' not in os.environ:
        nodes = os.environ['SLURM_NODELIST']
        hosts = subprocess.check_output(['scontrol', 'show', 'hostname', nodes], text=True)
        os.environ['MASTER_ADDR'] = hosts.split()[0]
    if not distributed.is_initialized():
        seconds = ((cfg.get('env_cfg') or {}).get('dist_cfg') or {}).get('timeout')
        timeout = None if seconds is None else timedelta(seconds=seconds)
        distributed.init_process_group('gloo', timeout=timeout)
    if cfg.get('model_wrapper_cfg') is None:
        cfg.model_wrapper_cfg = dict(
            type='MMDistributedDataParallel',
            broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False),
        )
    cfg.model_wrapper_cfg.device_ids = None


class _RunConfig(Config):
    """A config that is formatted anew only when it has changed.

    mmengine has yapf do it four times before the first step and for each checkpoint, for as long as
    a small model takes to write.
    """

    @classmethod
    def of(cls, cfg: Config) -> '_RunConfig':
        run = cls.__new__(cls)
        run.__dict__.update(deepcopy(cfg).__dict__)
        return run

    @property
    def pretty_text(self) -> str:
        plain = Config(self.to_dict(), format_python_code=False).pretty_text
        if self.__dict__.get('_formatted', ('', ''))[0] != plain:
            self.__dict__['_formatted'] = plain, super().pretty_text
        return self.__dict__['_formatted'][1]


class _Loader(dict):
    """Settings of a dataloader with a built data set, which mmengine would copy with them."""

    def __deepcopy__(self, memo: dict) -> dict:
        settings = {key: deepcopy(value, memo) for key, value in self.items() if key != 'dataset'}
        return dict(settings, dataset=self['dataset'])


class _Runner(Runner):
    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        keep_console_short(logger)
        return logger

    def dump_config(self) -> None:
        """Write the whole config into the work dir, but not over the file that it was read from."""
        name = self.cfg.filename
        if name is None or Path(name).resolve().parent != Path(self.work_dir).resolve():
            super().dump_config()

    @property
    def sharded(self) -> bool:
        """Whether weights are spread over the processes; one process has them all."""
        return bool(self.cfg.get('sharded')) and self.distributed

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        if self.cfg.get('checkpoint_activations'):
            recompute_blocks(model)
        if not self.sharded:
            return super().wrap_model(model_wrapper_cfg, model)
        check_shardable(model, self.cfg)
        if self.cfg.get('sync_bn'):
            model = convert_sync_batchnorm(model, self.cfg.sync_bn)
        return model.to(get_device())

    def train(self) -> nn.Module:
        if self.sharded:  # when the checks before a run, by single processes, are done
            dtype = computing_dtype(self.cfg.optim_wrapper)
            super()._init_model_weights()
            shard(self.model, dtype)
            self.register_hook(ShardingHook())
            self.logger.info(f'Weights and optimizer are spread over {self.world_size} processes.')
        elif self.cfg.get('sharded'):
            self.logger.warning('sharded: one process holds all weights, so that it has no effect.')
        return super().train()

    def _init_model_weights(self) -> None:
        if not self.sharded:
            super()._init_model_weights()

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        if self.sharded:  # a GPU need not have room for all of it
            kwargs.setdefault('map_location', 'cpu')
        super().resume(filename, *args, **kwargs)

    def save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        for hook in self.hooks:
            if isinstance(hook, ShardingHook):
                hook.gather(self, kwargs.get('save_optimizer', True))
        super().save_checkpoint(*args, **kwargs)


def build_runner(cfg: Config, built: dict[str, Any]) -> Runner:
    """``Runner.from_cfg(cfg)`` with data sets and evaluators that are built.

    Its trackers are guarded (:class:`GuardedVisBackend`).

    Args:
        cfg: Written as it is to the work directory and into checkpoints, but that ``compile``
            becomes an argument of a model of ours: mmengine compiles ``train_step``, whose contexts
            of mixed precision the compiler does not take.
        built: Data sets by the name of their dataloader, evaluators by their own.
    """
    cfg = _RunConfig.of(cfg)
    for name in ('sharded', 'checkpoint_activations'):
        if cfg.get(name) and (cfg.get('compile') or cfg.model.get('compile')):
            raise ValueError(f'{name}: compile is not supported with it; set one of them to False')
    _check_schedule(cfg.get('param_scheduler'), 'param_scheduler')
    if cfg.get('compile') and MODELS.gives(cfg.model.type, MaskedImageModel):
        cfg.model.compile, cfg.compile = cfg.compile, False
    settings = {key: cfg[key] for key in signature(Runner).parameters if key in cfg}
    for name, part in built.items():
        is_data = name.endswith('dataloader')
        settings[name] = _Loader(cfg[name], dataset=part) if is_data else part
    if settings.get('visualizer'):
        settings['visualizer'] = guarded(settings['visualizer'])
    runner = _Runner(**settings, cfg=cfg)
    if cfg.model.get('compile'):
        runner.logger.info(
            'Forward and loss will be compiled: the first iterations take up to minutes, fewer in '
            'later runs (TORCHINDUCTOR_CACHE_DIR names the cache).'
        )
    return runner


def _check_schedule(part: Any, place: str) -> None:
    """ValueError if a scheduler ends before it begins, which a shorter training may have done."""
    if isinstance(part, Sequence):
        for i, scheduler in enumerate(part):
            _check_schedule(scheduler, f'{place}.{i}')
    elif isinstance(part, Mapping) and 'type' not in part:  # of several optimizers
        for name, schedulers in part.items():
            _check_schedule(schedulers, f'{place}.{name}')
    elif isinstance(part, Mapping):
        begin, end = part.get('begin', 0), part.get('end', math.inf)
        if begin >= end:
            raise ValueError(
                f'{place} ({part["type"]}) begins at {begin} and ends at {end}: give it an end '
                'after its begin, or leave it out'
            )


def load_runner(cfg: Config, built: dict[str, Any] | None = None) -> tuple[Runner, BaseModel]:
    """The runner of a config on this machine, and its model without a wrapper.

    ``built`` are data sets and evaluators that are built already, by the name of their dataloader
    and by their own in the config.
    """
    if (cfg.get('randomness') or {}).get('deterministic'):
        # PyTorch refuses products of matrices on a GPU without it.
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    prepare_cpu_launch(cfg)
    runner = build_runner(cfg, built or {})
    return runner, unwrap(runner.model)


def release_loaders(runner: Runner) -> None:
    """End the processes that load images.

    Persistent ones last as long as their loader, and hold up the end of the program: some versions
    of PyTorch wait five seconds for each. One that hangs in a file is killed.
    """
    for loop in (runner.train_loop, runner.val_loop):
        for name in ('dataloader', 'dataloader_iterator'):
            if getattr(loop, name, None) is not None:
                setattr(loop, name, None)
    hanging = [process for process in multiprocessing.active_children() if process.daemon]
    if hanging:
        # PyTorch would raise that a worker was killed.
        former = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for process in hanging:
            process.kill()
            process.join()
        signal.signal(signal.SIGCHLD, former)


__getattr__ = old_names(__name__)
