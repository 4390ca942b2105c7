"""Trainings that are run one after another, or side by side, to compare a metric of theirs."""

from simmim_mm.experiments.scalars import Progress, read_progress
from simmim_mm.experiments.scheduler import run_trials
from simmim_mm.experiments.trial import Outcome, Trial, fingerprint

__all__ = ['Outcome', 'Progress', 'Trial', 'fingerprint', 'read_progress', 'run_trials']
