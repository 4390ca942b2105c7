"""Train: ``simmim train CONFIG``."""

import argparse
import os
from contextlib import nullcontext
from typing import TYPE_CHECKING

from simmim_mm.cli.common import (
    add_run_options,
    add_watching,
    default_work_dir,
    interruption_explained,
    load_config,
    merge_options,
)

if TYPE_CHECKING:
    from mmengine.config import Config


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
    parser.add_argument(
        '--sharded',
        action='store_true',
        help='spread weights, gradients and optimizer over the processes (FSDP) for models that do '
        'not fit one GPU; the same as sharded=True in the config',
    )
    parser.add_argument(
        '--checkpoint-activations',
        action='store_true',
        help='keep the activations of one block at a time and compute them again in the backward '
        'pass: less memory, about a third more time',
    )
    text = 'scale the learning rate by batch size / auto_scale_lr.base_batch_size of the config'
    parser.add_argument('--auto-scale-lr', action='store_true', help=text)
    parser.add_argument('--no-validate', action='store_true', help='leave the validation out')
    parser.add_argument('--seed', type=int, metavar='N', help='overrides the seed of the config')
    add_watching(parser)
    add_run_options(parser, help='override settings of the config, and the options above')


def merge_args(cfg: 'Config', args: argparse.Namespace) -> list[str]:
    """Enter the command line into the config; returns what there is to tell the user."""
    from simmim_mm.engine.launch import adapt_dataloaders, complete_validation
    from simmim_mm.engine.watching import watch

    notes = []
    if (args.data, args.epochs, args.iters, args.batch_size) != (None,) * 4:
        from simmim_mm.experiments.downstream import set_run

        set_run(cfg, args.data, args.epochs, args.iters, args.batch_size)
    merge_options(cfg, args.cfg_options)
    complete_validation(cfg)
    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or default_work_dir(args.config)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.sharded:
        cfg.sharded = True
    if args.checkpoint_activations:
        cfg.checkpoint_activations = True
    if args.amp:
        use_amp(cfg)
    if args.pretrained:
        start_from(cfg, args.pretrained, args.config)
    if args.seed is not None:
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=args.seed)
    if args.auto_scale_lr:
        notes += scale_lr(cfg)
    watch(cfg, args.logger, args.probe)
    adapt_dataloaders(cfg)
    return notes


def use_amp(cfg: 'Config') -> None:
    import torch

    cfg.optim_wrapper.type = 'simmim_mm.AmpOptimWrapper'
    if cfg.get('sharded'):  # float16 would scale sharded gradients
        cfg.optim_wrapper.dtype = 'bfloat16'
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


def run(args: argparse.Namespace) -> None:
    from simmim_mm.checkpoint.disk import require_space
    from simmim_mm.engine.launch import launched_rank
    from simmim_mm.engine.resume import choose_checkpoint
    from simmim_mm.engine.run_lock import RunLock
    from simmim_mm.engine.stop_request import StopRequest
    from simmim_mm.engine.training import train

    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = load_config(args.config)
    notes = merge_args(cfg, args)
    require_space(cfg.work_dir)
    # The first process of several holds the work dir for all.
    lock = RunLock(cfg.work_dir) if launched_rank(args.launcher) == 0 else nullcontext()
    command = f'simmim train {args.config} --work-dir {cfg.work_dir} --resume'
    with interruption_explained(cfg.work_dir, command), StopRequest() as request, lock:
        train(cfg, notes + choose_checkpoint(cfg, args.resume), request)
