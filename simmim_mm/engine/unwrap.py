"""The model itself, without what distributed training wraps around it or cuts it into."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.model import is_model_wrapper
from torch import Tensor, distributed, nn


def unwrap(model: Any) -> Any:
    """``model``, or what it wraps."""
    return model.module if is_model_wrapper(model) else model


def is_sharded(module: Any) -> bool:
    """Whether the weights of a module are spread over the processes (``sharded = True``)."""
    if not distributed.is_available() or not distributed.is_initialized():
        return False
    from torch.distributed.fsdp import FSDPModule

    return isinstance(module, FSDPModule)


def local_part(value: Any) -> Any:
    """The part of a tensor that this process holds: all of it, unless it is sharded."""
    return value.to_local() if hasattr(value, 'to_local') else value


@contextmanager
def whole_weights(model: Any) -> Iterator[Any]:
    """The model itself with all its weights, for one process to call any of its methods.

    All processes enter and leave together where the model is sharded; else this is
    :func:`unwrap`. Weights are float32, also where training exchanges them in bfloat16.
    """
    model = unwrap(model)
    if not is_sharded(model):
        yield model
        return
    parts = [module for module in model.modules() if is_sharded(module)]
    kept = dict(model.named_parameters())
    model.set_reshard_after_forward(False)
    for part in parts:
        part.unshard()
    for name, parameter in list(model.named_parameters()):
        if parameter.dtype != kept[name].dtype:
            whole = nn.Parameter(kept[name].detach().full_tensor(), parameter.requires_grad)
            path, _, attribute = name.rpartition('.')
            setattr(model.get_submodule(path), attribute, whole)
    try:
        yield model
    finally:
        for part in parts:
            part.reshard()  # puts the parts of the weights back in their place
            part.set_reshard_after_forward(part is not model, recurse=False)


def gathered(value: Any) -> Any:
    """A state with its sharded tensors put together, in the memory of the first process.

    All processes call it. Tensors are fetched one by one; the others drop each at once, and get
    None in its place.

    Args:
        value: Dicts, lists and tuples of tensors and anything else.
    """
    if isinstance(value, dict):
        return {key: gathered(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(gathered(item) for item in value)
    if hasattr(value, 'full_tensor'):
        whole = value.full_tensor()
        return whole.cpu() if distributed.get_rank() == 0 else None
    return value.detach().cpu() if isinstance(value, Tensor) else value


def part_of(whole: Any, like: Any) -> Any:
    """What this process holds of a tensor that is to be spread as ``like`` is; others stay."""
    if not hasattr(like, 'placements') or not isinstance(whole, Tensor):
        return whole
    if whole.shape != like.shape:
        return whole
    from torch.distributed.tensor import distribute_tensor

    mesh = like.device_mesh
    return distribute_tensor(whole.to(like.device), mesh, like.placements, src_data_rank=None)
