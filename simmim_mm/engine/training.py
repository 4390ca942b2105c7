"""A run of a config: checked, trained, and its processes ended."""

from collections.abc import Sequence

from mmengine.config import Config
from mmengine.hooks import Hook

from simmim_mm import _stack
from simmim_mm.checkpoint.disk import require_space
from simmim_mm.engine.checks import check_model, check_run
from simmim_mm.engine.failures import processes_explained
from simmim_mm.engine.hooks import PreemptionHook
from simmim_mm.engine.hooks.standard import add_standard_hooks
from simmim_mm.engine.launch import load_runner, release_loaders
from simmim_mm.engine.stop_request import StopRequest


def train(
    cfg: Config, notes: Sequence[str], request: StopRequest, hooks: Sequence[Hook] = ()
) -> None:
    """Check the data and the model of a config, and train.

    Args:
        cfg: Complete, with its work dir.
        notes: What is logged first, a sentence each.
        request: Entered; notes the signals that ask the training to stop.
        hooks: Of this call alone, which no config has.

    Raises:
        DataError: If the images or labels cannot be trained on.
        ValueError: If the model does not take them.
        DiskFull: If a checkpoint would not fit.
        ProcessLost: If a process that the training needs has died.
    """
    if cfg.get('default_scope') == 'mmdet':
        _stack.require_mmcv_ops()
    checked = check_run(cfg)  # before anything is written
    runner, model = load_runner(cfg, checked.datasets | checked.evaluators)
    weights = sum(x.numel() * x.element_size() for x in model.state_dict().values())
    require_space(cfg.work_dir, weights, 'the weights of a checkpoint')
    add_standard_hooks(runner)
    for hook in (PreemptionHook(request), *hooks):
        runner.register_hook(hook)
    for note in notes:
        runner.logger.info(note)
    for warning in checked.warnings:
        runner.logger.warning(warning)
    for mode, sample in checked.samples.items():
        check_model(model, sample, mode)
    request.shield()
    try:
        with processes_explained():
            runner.train()
    finally:
        release_loaders(runner)
