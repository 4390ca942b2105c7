"""What is looked at before a run starts, so that a mistake shows at once and in plain words."""

from simmim_mm.engine.checks.run import CheckedRun, check_dataset, check_model, check_run

__all__ = ['CheckedRun', 'check_dataset', 'check_model', 'check_run']
