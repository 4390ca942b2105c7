"""The model itself, without what distributed training wraps around it."""

from typing import Any

from mmengine.model import is_model_wrapper


def unwrap(model: Any) -> Any:
    """``model``, or what it wraps."""
    return model.module if is_model_wrapper(model) else model
