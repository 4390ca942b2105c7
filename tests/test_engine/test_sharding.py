"""Trainings in several processes, with weights and optimizer spread over them."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from tiny_pretraining import ROOT, SWIN, enter_project
from torch import Tensor, nn

from simmim_mm.cli import main
from simmim_mm.engine.sharding import blocks, check_shardable, computing_dtype, recompute_blocks
from simmim_mm.registry import MODELS

# Five epochs of four batches of six images; a step of the optimizer is two batches.
CONFIG = f"""
_base_ = '{ROOT}/configs/_base_/default_runtime.py'
pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizedCrop', scale=32, crop_ratio_range=(0.5, 1.0)),
    dict(type='RandomBlockMask', mask_patch_size=8, mask_ratio=0.5),
    dict(type='mmpretrain.PackInputs', algorithm_keys=['mask']),
]
train_dataloader = dict(
    batch_size=6,
    num_workers=0,
    sampler=dict(type='ReproducibleSampler', shuffle=True),
    dataset=dict(type='ImageDataset', data_root='images', pipeline=pipeline),
)
val_dataloader = dict(batch_size=2, dataset=dict(data_root='images', indices=7))
model = {SWIN}
optim_wrapper = dict(
    optimizer=dict(type='FusedAdamW', lr=1e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=0.1),
    accumulative_counts=2,
)
param_scheduler = dict(type='CosineAnnealingLR', T_max=5, convert_to_iter_based=True)
train_cfg = dict(type='EpochTrainLoop', max_epochs=5)
custom_hooks = _base_.custom_hooks + [
    dict(type='KNNHook', data_root='classes', interval=2, k=3),
    dict(type='ReconstructionHook', interval=20, num_images=2),
]
default_hooks = dict(checkpoint=dict(interval=3, by_epoch=False, max_keep_ckpts=-1))
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """24 images, the same in two classes, and ``tiny.py``; the working directory of the test."""
    enter_project(tmp_path, CONFIG, monkeypatch)
    for image in sorted((tmp_path / 'images').iterdir()):
        folder = tmp_path / 'classes' / f'{int(image.stem) % 2}'
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, folder)
    return tmp_path


@pytest.fixture
def start(python):
    """Starts a training in several processes, without a launcher."""
    processes = []

    def start(world: int, port: int, *args: str) -> list[subprocess.Popen]:
        command = [python, '-m', 'simmim_mm.cli', 'train', 'tiny.py', '--launcher', 'pytorch']
        command += ['--batch-size', str(6 // world), *args]
        env = dict(
            os.environ, WORLD_SIZE=f'{world}', MASTER_ADDR='127.0.0.1', MASTER_PORT=f'{port}'
        )
        started = [
            subprocess.Popen(
                command,
                env=dict(env, RANK=f'{rank}', LOCAL_RANK=f'{rank}'),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(world)
        ]
        processes.extend(started)
        return started

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def _end(started: list[subprocess.Popen], code: int = 0) -> str:
    """Wait for processes; what they wrote to the standard error."""
    errors = [process.communicate(timeout=120)[1] for process in started]
    for process, text in zip(started, errors):
        assert process.returncode == code, text[-3000:]
    return ''.join(errors)


def _checkpoint(work_dir: str, name: str = 'iter_20.pth') -> dict:
    return torch.load(Path(work_dir, name), weights_only=False)


def _same(found: dict, expected: dict) -> None:
    """Losses, norms of gradients, weights and the optimizer's moments of two trainings."""
    for key, length in (('train/loss', 20), ('train/grad_norm', 10)):
        one, other = (c['message_hub']['log_scalars'][key].data[0] for c in (expected, found))
        assert len(one) == len(other) == length
        np.testing.assert_allclose(other, one, rtol=1e-5)
    assert list(found['state_dict']) == list(expected['state_dict'])
    for name, weight in expected['state_dict'].items():
        assert type(found['state_dict'][name]) is torch.Tensor, name
        torch.testing.assert_close(found['state_dict'][name], weight, rtol=1e-4, atol=1e-5)
    assert found['optimizer']['state'].keys() == expected['optimizer']['state'].keys()
    for index, state in expected['optimizer']['state'].items():
        for key, value in state.items():
            other = found['optimizer']['state'][index][key]
            torch.testing.assert_close(other, value, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_sharded_trains_as_ddp_and_one_process_and_resumes_on_others(
    project, start, monkeypatch, fresh_process
):
    two = start(2, 29811, '--work-dir', 'sharded', '--sharded')
    ddp = start(2, 29812, '--work-dir', 'ddp')
    monkeypatch.setenv('LOCAL_RANK', '0')
    main(['train', 'tiny.py', '--work-dir', 'one'])
    _end(two)
    # at the end of an epoch, where a resumed run validates first
    resume = ['--resume', 'sharded/iter_12.pth', '--sharded', '--checkpoint-activations']
    three = start(3, 29813, '--work-dir', 'three', *resume)
    fresh_process()
    main(['train', 'tiny.py', '--work-dir', 'resumed', '--resume', 'sharded/iter_6.pth'])
    _end(ddp)
    _end(three)

    one = _checkpoint('one')
    assert max(one['message_hub']['log_scalars']['train/grad_norm'].data[0]) > 0.1  # it was clipped
    for name in ('ddp', 'sharded', 'resumed', 'three'):
        _same(_checkpoint(name), one)
    for scalar in ('val/masked_loss/loss', 'train/images_per_second'):
        assert scalar in _checkpoint('sharded')['message_hub']['log_scalars']
    accuracies = [
        [line.split('%')[0][-5:] for line in _log(name).splitlines() if 'kNN accuracy' in line]
        for name in ('one', 'sharded')
    ]
    assert accuracies[0] == accuracies[1] and len(accuracies[0]) == 2
    drawn = [
        np.asarray(Image.open(f'{n}/vis_data/reconstruction_0000020.png'))
        for n in ('one', 'sharded')
    ]
    assert np.abs(drawn[0].astype(int) - drawn[1]).max() <= 1
    MODELS.build(Config(SWIN)).load_state_dict(_checkpoint('sharded')['state_dict'])


def _log(work_dir: str) -> str:
    return ''.join(path.read_text() for path in Path(work_dir).glob('*/*.log'))


PROBE = """
import os
import signal
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from simmim_mm.registry import HOOKS

@HOOKS.register_module()
class Poison(Hook):
    priority = 0

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 5 and get_rank() == 1:
            weight = next(runner.model.backbone.stages.parameters())
            weight.data.to_local().view(-1)[0] = float('nan')

@HOOKS.register_module()
class Signal(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 7 and get_rank() == 1:
            os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.slow
def test_stops_and_diverges_in_all_processes_and_keeps_float32(project, start, monkeypatch):
    """A signal to one process of a run in bfloat16; a weight that is not finite in one."""
    (project / 'probe.py').write_text(PROBE)
    monkeypatch.setenv('PYTHONPATH', f'{ROOT}:{project}')
    imports = "custom_imports = dict(imports=['simmim_mm', 'probe'])"
    (project / 'tiny.py').write_text(f'{CONFIG}\n{imports}\n')
    options = ['--sharded', '--cfg-options']
    stopped = start(
        2, 29814, '--work-dir', 'stopped', '--amp', *options, "custom_hooks=[{'type':'Signal'}]"
    )
    poisoned = start(
        2, 29815, '--work-dir', 'poisoned', *options, "custom_hooks=[{'type':'Poison'}]"
    )
    _end(stopped, 75)
    last = torch.load(Path('stopped/last_checkpoint').read_text(), weights_only=False)
    assert last['meta']['iter'] == 8
    weights = last['state_dict'].values()
    assert {w.dtype for w in weights if w.is_floating_point()} == {torch.float32}
    assert {type(v) for s in last['optimizer']['state'].values() for v in s.values()} == {Tensor}
    # The first loss of the run in float32 is computed in 8 bits here.
    first = last['message_hub']['log_scalars']['train/loss'].data[0][0]
    errors = _end(poisoned, 2)
    reference = _checkpoint('poisoned', 'iter_3.pth')['message_hub']['log_scalars']['train/loss']
    assert 1e-6 < abs(first / reference.data[0][0] - 1) < 2e-2
    assert '1 weights are not finite after 6 iterations, such as backbone.stages.0' in errors
    assert [path.name for path in Path('poisoned').glob('*.pth')] == ['iter_3.pth']


@pytest.mark.parametrize(
    'backbone, number',
    [
        (SWIN['backbone'], 4),
        (dict(type='MaskedViT', arch='deit-tiny', img_size=32, patch_size=8), 12),
        (dict(type='MaskedResNet', depth=50), 16),
        (dict(type='MaskedConvNeXt', arch='atto'), 12),
    ],
)
def test_blocks_are_those_of_the_papers(backbone, number):
    """Swin 2 + 2, DeiT-Ti 12, ResNet-50 3 + 4 + 6 + 3, ConvNeXt-A 2 + 2 + 6 + 2."""
    model = MODELS.build(backbone)
    found = blocks(model)
    assert len(found) == number and len({type(block) for block in found}) == 1
    in_blocks = sum(p.numel() for block in found for p in block.parameters())
    assert in_blocks > 0.6 * sum(p.numel() for p in model.parameters())


def test_no_block_shares_a_weight_with_another_part():
    block = lambda: nn.ModuleDict(dict(a=nn.Linear(2, 2), b=nn.Linear(2, 2)))  # noqa: E731
    net = nn.ModuleDict(
        dict(layers=nn.ModuleList([block(), block(), block()]), head=nn.Linear(2, 2))
    )
    net.layers[1].b.weight = net.head.weight
    assert blocks(net) == [net.layers[0], net.layers[2]]


def test_activations_computed_again_give_the_same_gradients():
    """Also with random depth, whose numbers are drawn again alike; fewer tensors are kept."""
    torch.manual_seed(0)
    model = MODELS.build(Config(dict(SWIN['backbone'], drop_path_rate=0.5))).train()
    images, kept = torch.randn(4, 3, 32, 32), []

    def gradients() -> list[torch.Tensor]:
        torch.manual_seed(1)
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda x: sizes.append(x.numel()) or x, lambda x: x
        ):
            loss = model(images)[0].square().mean()
        kept.append(sum(sizes))
        return torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad])

    plain = gradients()
    recompute_blocks(model)
    for one, other in zip(plain, gradients(), strict=True):
        assert torch.equal(one, other)
    assert kept[1] < 0.5 * kept[0]


def test_what_cannot_be_sharded_is_refused():
    model = nn.Linear(1, 1)
    check_shardable(model, Config(dict(custom_hooks=[dict(type='mmengine.IterTimerHook')])))
    with pytest.raises(ValueError, match='EMAHook averages whole weights; train with sharded=Fal'):
        check_shardable(model, Config(dict(custom_hooks=[dict(type='mmengine.EMAHook')])))
    with pytest.raises(ValueError, match='has no list of blocks'):
        recompute_blocks(model)
    assert computing_dtype(dict(type='mmengine.OptimWrapper', dtype='bfloat16')) is None
