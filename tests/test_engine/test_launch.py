import pytest
import torch
from mmengine.config import Config

from simmim_mm.engine.launch import launched_rank, prepare_cpu_launch

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
