import torch
from mmengine.utils import digit_version

from simmim_mm.registry import OPTIMIZERS


@OPTIMIZERS.register_module()
class FusedAdamW(torch.optim.AdamW):
    """PyTorch's AdamW by its fused kernel, where there is one: on GPUs, and on CPUs from torch 2.4.

    One pass over parameters, gradients and moments instead of a dozen: the same update up to
    rounding, in a third of the time on a CPU (docs/notes/benchmarks.md). Elsewhere the usual AdamW.
    Takes the arguments of ``torch.optim.AdamW`` without ``fused`` and ``foreach``.
    """

    def __init__(self, params, **kwargs) -> None:
        super().__init__(params, **kwargs)
        devices = {p.device.type for group in self.param_groups for p in group['params']}
        on_cpu = digit_version(torch.__version__) >= digit_version('2.4')
        if devices <= ({'cuda', 'cpu'} if on_cpu else {'cuda'}):
            for group in self.param_groups:
                group['fused'] = True
