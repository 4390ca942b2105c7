"""Hooks that every training needs, whatever its config says."""

from mmengine.runner import Runner

from simmim_mm.engine.hooks.bad_files_hook import BadFilesHook
from simmim_mm.engine.hooks.history_hook import HistoryHook
from simmim_mm.engine.hooks.loss_hook import LossHook
from simmim_mm.engine.hooks.schedule_hook import ScheduleHook
from simmim_mm.engine.hooks.throughput_hook import ThroughputHook

STANDARD = (BadFilesHook, HistoryHook, LossHook, ScheduleHook, ThroughputHook)


def add_standard_hooks(runner: Runner) -> None:
    """Register those of ``STANDARD`` that the config does not have; the config stays as it is."""
    for kind in STANDARD:
        if not any(isinstance(hook, kind) for hook in runner.hooks):
            runner.register_hook(kind())
