"""Learning-rate curves that mmengine has no exact form of."""

import math

from mmengine.optim import CosineAnnealingLR, LinearLR

from simmim_mm.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class WarmupLR(LinearLR):
    """Linear warm-up as timm and MAE define it.

    With f the start factor and t counted from ``begin``::

        lr(t) = lr * (f + (1 - f) * t / (end - begin))

    so that the full rate is reached at ``end``, where the main schedule takes over. mmengine's
    ``LinearLR`` gets there one step earlier and, being recursive, cannot start at zero.

    List it before the main schedule: at ``end`` both act, and the later one decides.

    Args:
        start_factor: f, in [0, 1].
        end: Step (epoch with ``convert_to_iter_based``) at which the full rate is reached.
        begin: Step at which the warm-up begins.
    """

    def __init__(self, optimizer, *args, end: int, begin: int = 0, **kwargs) -> None:
        if end <= begin:
            raise ValueError(f'a warm-up must end after it begins, got begin={begin}, end={end}')
        # `end` is exclusive for mmengine; its `total_iters` is then end - begin.
        super().__init__(optimizer, *args, begin=begin, end=end + 1, **kwargs)

    def _get_value(self) -> list[float]:
        done = self.last_step / self.total_iters
        factor = self.start_factor + (self.end_factor - self.start_factor) * done
        return [value * factor for value in self.base_values]


@PARAM_SCHEDULERS.register_module()
class CosineThroughWarmupLR(CosineAnnealingLR):
    """Cosine whose phase counts from step 0, also when it acts only from ``begin`` on.

    This is timm's ``CosineLRScheduler`` with ``warmup_prefix=False``, which the SimMIM authors use:
    when the warm-up ends, the rate steps onto a cosine that has been running since the first step
    (after 10 of 100 epochs, at 97.6% of the way from the minimum to the full rate)::

        lr(t) = min + (lr - min) * (1 + cos(pi * t / T_max)) / 2        for t >= begin

    mmengine's ``CosineAnnealingLR`` starts its cosine at ``begin``, at the full rate.

    Args:
        T_max: Step at which the minimum is reached: the length of the training, with its warm-up.
        eta_min: The minimum, absolute. Or:
        eta_min_ratio: The minimum as a fraction of the full rate, which follows when the rate is
            scaled to another batch size.
    """

    def __init__(self, optimizer, *args, T_max: int | None = None, **kwargs) -> None:
        if T_max is None:
            raise ValueError('CosineThroughWarmupLR needs T_max, the length of the whole training')
        super().__init__(optimizer, *args, T_max=T_max, **kwargs)

    def _get_value(self) -> list[float]:
        fraction = (1 + math.cos(math.pi * (self.begin + self.last_step) / self.T_max)) / 2
        ratio = self.eta_min_ratio
        minima = [self.eta_min if ratio is None else lr * ratio for lr in self.base_values]
        return [low + (high - low) * fraction for low, high in zip(minima, self.base_values)]
