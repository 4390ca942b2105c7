"""From a folder of images to a trained backbone: a plan with its reasons, a config, a training."""

from simmim_mm.pretraining.facts import Facts, Machine, look_at
from simmim_mm.pretraining.plan import (
    BACKBONES,
    METHODS,
    Plan,
    PlanError,
    Wishes,
    default_out,
    make_plan,
)
from simmim_mm.pretraining.run import pretrain

__all__ = [
    'BACKBONES',
    'METHODS',
    'Facts',
    'Machine',
    'Plan',
    'PlanError',
    'Wishes',
    'default_out',
    'look_at',
    'make_plan',
    'pretrain',
]
