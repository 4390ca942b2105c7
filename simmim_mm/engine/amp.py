import torch
from mmengine.device import get_device
from mmengine.logging import MMLogger
from mmengine.optim import AmpOptimWrapper as _AmpOptimWrapper
from mmengine.optim import OptimWrapper

from simmim_mm.processor import cpu_has_bfloat16
from simmim_mm.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class AmpOptimWrapper(_AmpOptimWrapper):
    """Mixed precision on GPU and CPU; mmengine's wrapper refuses to run without a GPU.

    - GPU: fp16 with a gradient scaler (the default), or bfloat16, which needs no scaler.
    - CPU: bfloat16 without a scaler, whatever ``dtype`` says, so that recipes written for a GPU
      run. It is fast on processors with bfloat16 instructions only; others are warned about.

    The parameters stay float32. Gradient clipping and accumulation work as in ``OptimWrapper``.

    Args:
        dtype: ``'float16'`` (None is the same) or ``'bfloat16'``.
        loss_scale: For fp16, see mmengine: ``'dynamic'``, a number, or the arguments of
            ``torch.amp.GradScaler``.
    """

    def __init__(
        self,
        *args,
        dtype: str | torch.dtype | None = None,
        loss_scale: str | float | dict = 'dynamic',
        **kwargs,
    ) -> None:
        name = str(dtype or 'float16').replace('torch.', '')
        if name not in ('float16', 'bfloat16'):
            raise ValueError(f"AMP dtype must be 'float16' or 'bfloat16', got {dtype!r}")
        if get_device() != 'cpu':
            super().__init__(*args, dtype=name, loss_scale=loss_scale, **kwargs)  # type: ignore[arg-type]  # mmengine takes numbers and dicts too
            if name == 'bfloat16':  # has the range of float32: nothing to scale
                self.loss_scaler = torch.amp.GradScaler(enabled=False)
            return
        # The parent's __init__ asserts a GPU. The rest of it works with a scaler that is off.
        OptimWrapper.__init__(self, *args, **kwargs)
        self._scale_update_param = None
        self.loss_scaler = torch.amp.GradScaler('cpu', enabled=False)
        self.cast_dtype = torch.bfloat16
        _announce_cpu(name)

    def load_state_dict(self, state_dict: dict) -> None:
        """Take over a state, also that of a run in another precision."""
        state_dict = dict(state_dict)
        if not state_dict.get('loss_scaler'):  # a scaler that was off has no state to load
            state_dict.pop('loss_scaler', None)
        super().load_state_dict(state_dict)


def _announce_cpu(asked: str) -> None:
    note = 'Mixed precision on the CPU: bfloat16'
    if asked == 'float16':
        note += ' (the float16 of the config is for GPUs)'
    logger = MMLogger.get_current_instance()
    logger.info(note + '.')
    if cpu_has_bfloat16() is False:
        logger.warning(
            'This processor has no bfloat16 instructions: mixed precision will be slower than '
            'float32 here. Train without --amp, or with optim_wrapper.type=OptimWrapper where the '
            'config asks for it.'
        )
