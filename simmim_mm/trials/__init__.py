"""Trainings that are run one after another, or side by side, to compare a figure of theirs."""

from .scalars import Progress, read_progress
from .scheduler import run_trials
from .trial import Outcome, Trial, fingerprint

__all__ = ['Outcome', 'Progress', 'Trial', 'fingerprint', 'read_progress', 'run_trials']
