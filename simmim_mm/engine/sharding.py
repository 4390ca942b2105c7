"""Trainings whose weights, gradients and optimizer are spread over the processes (FSDP2).

Each process holds an n-th of every tensor. Before a block computes, the processes exchange what it
needs; afterwards, each keeps its part again. Checkpoints are those of any other training.
"""

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import get_world_size
from mmengine.hooks import EMAHook, Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn

from simmim_mm.engine.amp import AmpOptimWrapper
from simmim_mm.engine.unwrap import gathered, part_of, whole_weights
from simmim_mm.models.teachers import EMATarget
from simmim_mm.registry import HOOKS, OPTIM_WRAPPERS

_LISTS = (nn.ModuleList, nn.Sequential)


def blocks(model: nn.Module) -> list[nn.Module]:
    """The blocks of a network: what repeats in its lists, without smaller ones inside.

    A layer such as ``nn.Linear`` is none, nor is a block that shares a weight with another part, or
    one of a frozen teacher.
    """
    teacher = getattr(model, 'teacher', None)
    foreign = set() if teacher is None else set(teacher.modules())
    uses = Counter(id(p) for m in model.modules() for p in m._parameters.values() if p is not None)
    found: list[nn.Module] = []

    def search(module: nn.Module) -> bool:
        children = [child for child in module.children() if child not in foreign]
        inner = [search(child) for child in children]
        has_any = any(inner)
        if isinstance(module, _LISTS):
            for child, has_blocks in zip(children, inner):
                is_layer = isinstance(child, _LISTS) or not list(child.children())
                own = list(child.parameters())
                if not (has_blocks or is_layer) and own and all(uses[id(p)] == 1 for p in own):
                    found.append(child)
                    has_any = True
        return has_any

    search(model)
    return found


def recompute_blocks(model: nn.Module) -> int:
    """Have blocks compute their activations again in the backward pass; returns their number.

    Memory then holds the inputs of all blocks and the activations of one, for about a third more
    computing. Gradients are the same: random numbers are drawn again alike.

    Raises:
        ValueError: If there are no blocks, or a teacher watches them.
    """
    from torch.distributed._composable.checkpoint_activation import checkpoint

    if getattr(model, 'teacher', None) is not None:
        raise ValueError(
            'checkpoint_activations: the teacher watches the blocks, which would compute twice; '
            'leave one of the two out'
        )
    found = blocks(model)
    if not found:
        raise ValueError(
            f'checkpoint_activations: {type(model).__name__} has no list of blocks: leave it out'
        )
    for block in found:
        checkpoint(block)
    return len(found)


def shard(model: nn.Module, compute: torch.dtype | None = None) -> None:
    """Spread the parameters over the processes, in place; before an optimizer is made of them.

    Args:
        model: The same on all processes. A teacher that does not learn stays whole.
        compute: Type in which weights are exchanged and used, bfloat16 or None; the parts that the
            optimizer changes stay float32, and gradients are averaged in it.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    teacher = getattr(model, 'teacher', None)
    frozen = set() if teacher is None else set(teacher.network.parameters())
    # No casting of inputs: autocast decides layer by layer, and keeps losses in float32.
    policy = MixedPrecisionPolicy(compute, torch.float32, cast_forward_inputs=False)
    mesh = init_device_mesh(get_device(), (get_world_size(),))
    options: dict[str, Any] = dict(mesh=mesh, mp_policy=policy, ignored_params=frozen)
    for block in blocks(model):
        fully_shard(block, **options)
    fully_shard(model, **options)


def computing_dtype(optim_wrapper: Mapping[str, Any]) -> torch.dtype | None:
    """bfloat16 where the config of an optimizer wrapper asks for it, None for float32.

    Raises:
        ValueError: For float16.
    """
    if not OPTIM_WRAPPERS.gives(optim_wrapper.get('type', 'OptimWrapper'), AmpOptimWrapper):
        return None
    dtype = str(optim_wrapper.get('dtype') or 'float16')
    if get_device() != 'cpu' and 'bfloat16' not in dtype:
        raise ValueError(
            'sharded: mixed precision in float16 scales gradients, which is not supported with '
            'sharded ones; set optim_wrapper.dtype=bfloat16'
        )
    return torch.bfloat16


def check_shardable(model: nn.Module, cfg: Config) -> None:
    """ValueError for what needs all weights in one place at every step."""
    instead = 'train with sharded=False, that is with DistributedDataParallel'
    hooks = [*(cfg.get('custom_hooks') or ()), *(cfg.get('default_hooks') or {}).values()]
    types = [hook['type'] for hook in hooks if isinstance(hook, dict) and 'type' in hook]
    if averaging := [kind for kind in types if HOOKS.gives(kind, EMAHook)]:
        raise ValueError(f'sharded: {averaging[0]} averages whole weights; {instead}')
    if isinstance(getattr(model, 'teacher', None), EMATarget):
        raise ValueError(f'sharded: EMATarget averages whole weights; {instead}')


class ShardingHook(Hook):
    """Makes checkpoints and validations of a sharded training those of any other.

    A checkpoint gets the whole weights and the state of an optimizer that holds them all, and is
    cut into parts when it is read, for however many processes there are. Validations keep the
    weights in one piece: processes may have unequal numbers of batches.
    """

    priority = 'HIGHEST'  # before all that look at a checkpoint

    def __init__(self) -> None:
        self._whole: dict[str, Any] = {}
        self._validation = ExitStack()

    def gather(self, runner: Runner, optimizer: bool) -> None:
        """Fetch what the first process is about to write; all processes call it."""
        self._whole = dict(state_dict=gathered(runner.model.state_dict()))
        if optimizer and isinstance(runner.optim_wrapper, OptimWrapper):
            self._whole['optimizer'] = gathered(runner.optim_wrapper.state_dict())

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint.update(self._whole)
        self._whole = {}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        own, weights = runner.model.state_dict(), checkpoint.get('state_dict', checkpoint)
        for name, value in weights.items():
            weights[name] = part_of(value, own.get(name.removeprefix('module.')))
        if 'optimizer' in checkpoint and isinstance(runner.optim_wrapper, OptimWrapper):
            saved, groups = checkpoint['optimizer'], runner.optim_wrapper.param_groups
            indices = [i for group in saved['param_groups'] for i in group['params']]
            parameters = [p for group in groups for p in group['params']]
            for index, parameter in zip(indices, parameters):
                if state := saved['state'].get(index):
                    saved['state'][index] = {k: part_of(v, parameter) for k, v in state.items()}

    def before_val_epoch(self, runner: Runner) -> None:
        self._validation.enter_context(whole_weights(runner.model))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._validation.close()
