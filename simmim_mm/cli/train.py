"""Train: ``simmim train CONFIG``."""

import argparse
import os
from contextlib import nullcontext
from typing import TYPE_CHECKING

from simmim_mm.cli.common import add_run_options, default_work_dir, load_config, load_runner

if TYPE_CHECKING:
    from mmengine.config import Config

    from simmim_mm.engine.stop_request import StopRequest

HELP = 'pretrain, or train a classifier, detector or segmenter'
DESCRIPTION = """
Pretrain a model, or train a classifier (mmpretrain), detector (mmdet) or segmenter (mmseg) on a
pretrained backbone.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='config file')
    parser.add_argument('--data', metavar='FOLDER', help='images to train on')
    budget = parser.add_mutually_exclusive_group()
    for unit in ('epochs', 'iters'):
        text = f'length of the training, in {unit}; all schedules are scaled to it'
        budget.add_argument(f'--{unit}', type=int, metavar='N', help=text)
    parser.add_argument('--batch-size', type=int, metavar='N', help='images per process and step')
    parser.add_argument(
        '--work-dir', help='folder for logs and checkpoints (./work_dirs/NAME_OF_CONFIG)'
    )
    parser.add_argument(
        '--pretrained',
        metavar='CHECKPOINT',
        help='start the backbone of a classifier, detector or segmenter from this pretraining; '
        'the same as model.backbone.init_cfg in the config',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue from a checkpoint; without a value, from the newest sound one in the work '
        'dir',
    )
    parser.add_argument(
        '--amp', action='store_true', help='mixed precision: fp16 on a GPU, bfloat16 on a CPU'
    )
    text = 'scale the learning rate by batch size / auto_scale_lr.base_batch_size of the config'
    parser.add_argument('--auto-scale-lr', action='store_true', help=text)
    parser.add_argument('--no-validate', action='store_true', help='leave the validation out')
    parser.add_argument('--seed', type=int, metavar='N', help='overrides the seed of the config')
    add_run_options(parser, help='override settings of the config, and the options above')


def merge_args(cfg: 'Config', args: argparse.Namespace) -> list[str]:
    """Enter the command line into the config; returns what there is to tell the user."""
    from simmim_mm.engine.launch import adapt_dataloaders, complete_validation

    notes = []
    if (args.data, args.epochs, args.iters, args.batch_size) != (None,) * 4:
        from simmim_mm.experiments.downstream import set_run

        set_run(cfg, args.data, args.epochs, args.iters, args.batch_size)
    cfg.merge_from_dict(args.cfg_options)
    complete_validation(cfg)
    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or default_work_dir(args.config)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        use_amp(cfg)
    if args.pretrained:
        start_from(cfg, args.pretrained, args.config)
    if args.seed is not None:
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=args.seed)
    if args.auto_scale_lr:
        notes += scale_lr(cfg)
    adapt_dataloaders(cfg)
    return notes


def use_amp(cfg: 'Config') -> None:
    import torch

    cfg.optim_wrapper.type = 'simmim_mm.AmpOptimWrapper'
    if not torch.cuda.is_available() and cfg.get('default_scope') == 'mmdet':
        raise ValueError(
            '--amp: on a CPU that means bfloat16, in which the operators of detectors (NMS, '
            'RoIAlign) do not compute there: train without'
        )


def start_from(cfg: 'Config', checkpoint: str, name: str) -> None:
    """Let the backbone start from a pretraining."""
    from simmim_mm.checkpoint import find_state_dict, load_weights, require_finite

    # to know now that it can be read
    require_finite(find_state_dict(load_weights(checkpoint)), checkpoint)
    if 'backbone' not in cfg.model:
        raise ValueError(f'--pretrained: the model of {name} has no backbone')
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')


def scale_lr(cfg: 'Config') -> list[str]:
    """Switch linear scaling on; accumulated iterations count as one batch, as with the authors."""
    if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
        raise ValueError(
            '--auto-scale-lr needs the batch size that the learning rate is meant for: set '
            'auto_scale_lr=dict(base_batch_size=...) in the config'
        )
    cfg.auto_scale_lr.enable = True
    steps = cfg.optim_wrapper.get('accumulative_counts', 1)
    if steps == 1:
        return []
    cfg.auto_scale_lr.base_batch_size /= steps
    return [f'Learning rate scaling counts the {steps} accumulated iterations as one batch.']


def choose_checkpoint(cfg: 'Config', resume: str | None) -> list[str]:
    """Set ``resume`` and ``load_from`` to a checkpoint that is known to load."""
    from simmim_mm.checkpoint import find_state_dict, load_weights, require_finite
    from simmim_mm.engine.resume import check_resumable, find_resumable

    if resume == 'auto' or (resume is None and cfg.get('resume') and not cfg.get('load_from')):
        cfg.load_from, notes = find_resumable(cfg.work_dir)
        cfg.resume = cfg.load_from is not None
        return notes
    if resume:
        cfg.resume, cfg.load_from = True, resume
    if cfg.get('load_from') and cfg.get('resume'):
        check_resumable(cfg.load_from)
    elif cfg.get('load_from') and '://' not in cfg.load_from:
        require_finite(find_state_dict(load_weights(cfg.load_from)), cfg.load_from)
    return []


def run(args: argparse.Namespace) -> None:
    from simmim_mm._stack import require_mmcv_ops
    from simmim_mm.engine.launch import launched_rank
    from simmim_mm.engine.run_lock import RunLock
    from simmim_mm.engine.stop_request import StopRequest

    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = load_config(args.config)
    notes = merge_args(cfg, args)
    if cfg.get('default_scope') == 'mmdet':
        require_mmcv_ops()
    # The first process of several holds the work dir for all.
    lock = RunLock(cfg.work_dir) if launched_rank(args.launcher) == 0 else nullcontext()
    with StopRequest() as request, lock:
        train(cfg, notes + choose_checkpoint(cfg, args.resume), request)


def train(cfg: 'Config', notes: list[str], request: 'StopRequest') -> None:
    """Check and train what a config says; ``notes`` go to the log."""
    from simmim_mm.engine.checks import check_model, check_run
    from simmim_mm.engine.failures import processes_explained
    from simmim_mm.engine.hooks import PreemptionHook
    from simmim_mm.engine.hooks.standard import add_standard_hooks
    from simmim_mm.engine.launch import release_loaders

    checked = check_run(cfg)  # before anything is written
    runner, model = load_runner(cfg, checked.datasets | checked.evaluators)
    add_standard_hooks(runner)
    runner.register_hook(PreemptionHook(request))
    for note in notes:
        runner.logger.info(note)
    for warning in checked.warnings:
        runner.logger.warning(warning)
    for mode, sample in checked.samples.items():
        check_model(model, sample, mode)
    try:
        with processes_explained():
            runner.train()
    finally:
        release_loaders(runner)
