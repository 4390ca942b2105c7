"""What a pretraining will take: memory, time, disk.

Nothing here is about choosing settings (:mod:`.plan` does that for a folder of images): the config
is given, and the question is how many GPUs, days and terabytes it needs.
"""

import gc
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.optim import AmpOptimWrapper, build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from simmim_mm.engine.sharding import blocks, recompute_blocks
from simmim_mm.models.algorithms import MaskedImageModel
from simmim_mm.pretraining.plan import PlanError
from simmim_mm.pretraining.timing import quiet, time_steps
from simmim_mm.registry import MODELS, OPTIM_WRAPPERS

RESERVED = 0.1  # of a GPU's memory: context, libraries, what the allocator cannot use
IMAGE_BYTES = 110_000  # of a file, where none is given: the mean of ImageNet's
_SMALL, _LARGE = 2, 4  # images of the steps whose memory is measured
_ON_CPU = 16  # images at most of the steps that are timed


class Memory(NamedTuple):
    """Bytes of one process at the moment of a step when they are most.

    Attributes:
        weights: Parameters and buffers.
        gradients: Of what is trained.
        optimizer: State of the optimizer.
        exchange: What several processes exchange: buckets of gradients, or, where they are
            sharded, whole blocks.
        activations: What the forward pass leaves for the backward pass, and temporary tensors.
    """

    weights: int
    gradients: int
    optimizer: int
    exchange: int
    activations: int

    @property
    def total(self) -> int:
        return sum(self)


@dataclass(frozen=True)
class Footprint:
    """Memory of a training step for any number of images.

    Every operation of the step is linear in the images; the highest moment is looked for at each
    number of them, for it need not be the same one.

    Attributes:
        weights, gradients, optimizer: See :class:`Memory`, of a process that has all.
        largest_block: Bytes of the parameters of the largest block.
        fixed: ``(T,)`` bytes after each operation that do not depend on the images.
        per_image: ``(T,)`` bytes that each image adds.
    """

    weights: int
    gradients: int
    optimizer: int
    largest_block: int
    fixed: np.ndarray
    per_image: np.ndarray

    def at(self, images: int, processes: int = 1, sharded: bool = False) -> Memory:
        """Memory of each process at ``images`` per process.

        Args:
            images: In memory at once: of a micro-batch, where batches are accumulated.
            processes: Of the training.
            sharded: Whether they share weights, gradients and optimizer. A block, the next one and
                the gradients of one are whole at a time.
        """
        peak = int((self.fixed + images * self.per_image).max())
        states = (self.weights, self.gradients, self.optimizer)
        activations = max(0, peak - sum(states))
        if processes == 1:
            return Memory(*states, 0, activations)
        if not sharded:
            return Memory(*states, self.gradients, activations)
        weights, gradients, optimizer = (-(-state // processes) for state in states)
        return Memory(weights, gradients, optimizer, 3 * self.largest_block, activations)

    def fitting(self, limit: float, processes: int = 1, sharded: bool = False) -> int:
        """The most images per process whose memory is at most ``limit`` bytes; 0 if none fits."""
        fits = [n for n in range(1, 2049) if self.at(n, processes, sharded).total <= limit]
        return max(fits, default=0)


class _Live(TorchDispatchMode):
    """Follows the bytes of the tensors that exist, after every operation."""

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        super().__init__()
        self._sizes: dict[int, int] = {}
        self._now = 0
        self.history: list[int] = []
        for tensor in tensors:
            self._note(tensor)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self._note(value)
        self.history.append(self._now)
        return result

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._sizes:
            self._sizes[key] = storage.nbytes()
            self._now += storage.nbytes()
            weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self._now -= self._sizes.pop(key)


def measure_footprint(cfg: Config, images: Sequence[int] = (_SMALL, _LARGE)) -> Footprint:
    """Compute two training steps of few images on the CPU, and follow the tensors.

    Mixed precision counts as it is on a GPU: two bytes for what is computed in it.

    Args:
        cfg: Of the training; its images are read.
        images: Of the two steps.

    Raises:
        PlanError: If the operations of a step depend on the number of its images.
    """
    with (
        DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'simmim_mm'),
        torch.random.fork_rng(),
    ):
        with quiet():
            model = MODELS.build(cfg.model).train()
            optimizer, low = _on_cpu(model, cfg.optim_wrapper)
        if cfg.get('checkpoint_activations'):
            recompute_blocks(model)
        loader = dict(cfg.train_dataloader, batch_size=max(images), num_workers=0)
        loader.update(persistent_workers=False, pin_memory=False)
        batch = next(iter(Runner.build_dataloader(loader, seed=0)))
        _follow(model, optimizer, low, batch, [])  # the optimizer gets its state
        states = [v for s in optimizer.state.values() for v in s.values()]
        states = [value for value in states if isinstance(value, Tensor)]
        own = [*model.parameters(), *model.buffers()]
        histories = [_follow(model, optimizer, low, _first(batch, n), own + states) for n in images]
    lengths = [len(history) for history in histories]
    if len(set(lengths)) > 1:
        raise PlanError(
            f'a step takes {lengths[0]} operations with {images[0]} images and {lengths[1]} with '
            f'{images[1]}: its memory cannot be extrapolated'
        )
    small, large = np.asarray(histories, dtype=float)
    per_image = (large - small) / (images[1] - images[0])
    return Footprint(
        weights=_bytes(own),
        gradients=_bytes(p for p in model.parameters() if p.requires_grad),
        optimizer=_bytes(states),
        largest_block=max((_bytes(block.parameters()) for block in blocks(model)), default=0),
        fixed=small - images[0] * per_image,
        per_image=per_image,
    )


def _first(batch: Any, number: int) -> dict:
    return {key: value[:number] for key, value in batch.items()}


def _on_cpu(model: nn.Module, optim_wrapper: Mapping[str, Any]) -> tuple[Optimizer, bool]:
    """The optimizer of a config, and whether it trains in mixed precision."""
    low = OPTIM_WRAPPERS.gives(optim_wrapper.get('type', 'OptimWrapper'), AmpOptimWrapper)
    settings = {k: v for k, v in optim_wrapper.items() if k not in ('dtype', 'loss_scale')}
    wrapper = build_optim_wrapper(model, dict(settings, type='mmengine.OptimWrapper'))
    return wrapper.optimizer, low


def _follow(
    model: Any, optimizer: Optimizer, low: bool, batch: dict, known: list[Tensor]
) -> list[int]:
    data = model.data_preprocessor(batch, True)
    for sample in data['data_samples']:  # not one by one within the step
        for name in sample.keys() + sample.metainfo_keys():
            if isinstance(value := sample.get(name), np.ndarray):
                sample.set_field(torch.as_tensor(value), name, field_type=_kind(sample, name))
    gc.collect()
    with _Live([*known, *(v for v in tree_leaves(data) if isinstance(v, Tensor))]) as live:
        with torch.autocast('cpu', torch.bfloat16, enabled=low):
            losses = model(**data, mode='loss')
            loss: Any = sum(value for name, value in losses.items() if 'loss' in name)
        loss.backward()
        del losses, loss
        optimizer.step()
    optimizer.zero_grad()
    return live.history


def _kind(sample: Any, name: str) -> str:
    return 'metainfo' if name in sample.metainfo_keys() else 'data'


def _bytes(tensors: Iterable[Tensor]) -> int:
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


def require_pretraining(cfg: Config, name: str) -> None:
    """PlanError unless a config is of a pretraining."""
    if not (cfg.get('model') and MODELS.gives(cfg.model.type, MaskedImageModel)):
        raise PlanError(f'{name} is no config of a pretraining: its model is no MaskedImageModel')


def measure_rate(
    cfg: Config, seconds: float, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Images per second that this machine loads and trains, in one process.

    Args:
        cfg: Of the training. Without a GPU, the time of its batch is extrapolated from two smaller
            ones, so that what a step takes whatever its images counts as often as it happens.
        seconds: How long, without the start.
        clock: See :func:`time_steps`.
    """
    batch = cfg.train_dataloader.batch_size

    def seconds_of(images: int, budget: float) -> float:
        part = deepcopy(cfg)
        part.train_dataloader.batch_size = images
        return time_steps(part, budget, clock=clock).seconds

    if torch.cuda.is_available() or batch <= _ON_CPU:
        return batch / seconds_of(batch, seconds)
    small = _ON_CPU // 4
    few, many = seconds_of(small, seconds / 4), seconds_of(_ON_CPU, seconds * 3 / 4)
    each = (many - few) / (_ON_CPU - small)
    return batch / (many + max(each, 0.5 * many / _ON_CPU) * (batch - _ON_CPU))


class Budget(NamedTuple):
    """What a training takes.

    Attributes:
        memory: Of each process.
        fitting: Images per process that fit a GPU; None where its memory is not known.
        rate: Images per second of all processes.
        seconds: Of the training.
        checkpoint: Bytes of one.
        kept: Checkpoints on the disk at once, the one being written included.
        data: Bytes of the images.
    """

    memory: Memory
    fitting: int | None
    rate: float
    seconds: float
    checkpoint: int
    kept: int
    data: int


def make_budget(
    cfg: Config,
    footprint: Footprint,
    rate: float,
    images: int,
    processes: int = 1,
    gpu_memory: float | None = None,
    image_bytes: float = IMAGE_BYTES,
) -> Budget:
    """Add up.

    Args:
        cfg: Of the training.
        footprint: Of its steps.
        rate: Images per second of one process; several are taken to be as many times as fast.
        images: Of an epoch.
        processes: GPUs.
        gpu_memory: Bytes of each.
        image_bytes: Mean size of an image file.
    """
    sharded = bool(cfg.get('sharded'))
    batch = cfg.train_dataloader.batch_size
    loop = cfg.train_cfg
    if 'max_epochs' in loop:
        steps = loop.max_epochs * -(-images // (batch * processes))
    else:
        steps = loop.max_iters
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    unit = loop.max_epochs if hook.get('by_epoch', True) and 'max_epochs' in loop else steps
    number = -(-unit // max(1, hook.get('interval', 1)))
    most = hook.get('max_keep_ckpts', -1)
    return Budget(
        footprint.at(batch, processes, sharded),
        footprint.fitting(gpu_memory * (1 - RESERVED), processes, sharded) if gpu_memory else None,
        rate * processes,
        steps * batch / rate,
        footprint.weights + footprint.optimizer,
        number if most < 0 else min(number, most) + 1,
        int(images * image_bytes),
    )
