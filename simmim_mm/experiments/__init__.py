"""Trainings that are run one after another, or side by side, to compare a metric of theirs.

What is listed here is imported when it is used: :mod:`simmim_mm.experiments.catalog` is light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simmim_mm.experiments.scalars import Progress, read_progress
    from simmim_mm.experiments.scheduler import run_trials
    from simmim_mm.experiments.trial import Outcome, Trial, fingerprint

__all__ = ['Outcome', 'Progress', 'Trial', 'fingerprint', 'read_progress', 'run_trials']


def __getattr__(name: str) -> Any:
    for module in ('scalars', 'scheduler', 'trial') if name in __all__ else ():
        found = getattr(import_module(f'{__name__}.{module}'), name, None)
        if found is not None:
            return found
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
