#!/usr/bin/env python
"""Pretrain or fine-tune a model: python tools/train.py CONFIG [options]."""

import argparse
import os
import os.path as osp
import sys

try:
    import simmim_mm  # noqa: F401  it checks the stack, before anything else is imported
except ImportError as error:
    sys.exit(f'error: {error}')

import torch
from mmengine.config import Config, DictAction
from mmengine.model import is_model_wrapper

from simmim_mm.checkpoint.safe_load import load_weights
from simmim_mm.cli.common import load_config, run_tool
from simmim_mm.engine.checks import check_model, check_run
from simmim_mm.engine.launch import (
    adapt_dataloaders,
    build_runner,
    launched_rank,
    prepare_cpu_launch,
)
from simmim_mm.engine.resume import check_resumable, find_resumable


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Pretrain a model, or train a classifier (mmpretrain), detector (mmdet) or '
        'segmenter (mmseg) on a pretrained backbone'
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--work-dir', help='folder for logs and checkpoints (./work_dirs/<name of the config>)'
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
        help='go on from a checkpoint; without a value, from the newest sound one of the work dir',
    )
    parser.add_argument(
        '--amp', action='store_true', help='mixed precision: fp16 on a GPU, bfloat16 on a CPU'
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by batch size / auto_scale_lr.base_batch_size of the config',
    )
    parser.add_argument('--no-validate', action='store_true', help='leave the validation out')
    parser.add_argument('--seed', type=int, help='overrides the seed of the config')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        help='override settings of the config, as key.of.setting=value',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    # torch.distributed.launch passes it; torchrun does not.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def merge_args(cfg: Config, args: argparse.Namespace) -> list[str]:
    """Enter the command line into the config; returns what there is to tell the user."""
    notes = []
    cfg.merge_from_dict(args.cfg_options)
    cfg.launcher = args.launcher
    cfg.work_dir = (
        args.work_dir
        or cfg.get('work_dir')
        or osp.join('./work_dirs', osp.splitext(osp.basename(args.config))[0])
    )
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        cfg.optim_wrapper.type = 'simmim_mm.AmpOptimWrapper'
        if not torch.cuda.is_available() and cfg.get('default_scope') == 'mmdet':
            raise ValueError(
                '--amp: on a CPU that means bfloat16, in which the operators of detectors (NMS, '
                'RoIAlign) do not compute there: train without'
            )
    if args.pretrained:
        load_weights(args.pretrained)  # to know now that it can be read
        if 'backbone' not in cfg.model:
            raise ValueError(f'--pretrained: the model of {args.config} has no backbone')
        cfg.model.backbone.init_cfg = dict(
            type='Pretrained', checkpoint=args.pretrained, prefix='backbone.'
        )
    if args.seed is not None:
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=args.seed)
    if args.auto_scale_lr:
        notes += scale_lr(cfg)
    adapt_dataloaders(cfg)
    return notes + choose_checkpoint(cfg, args.resume)


def scale_lr(cfg: Config) -> list[str]:
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


def choose_checkpoint(cfg: Config, resume: str) -> list[str]:
    """Set ``resume`` and ``load_from`` to a checkpoint that is known to load."""
    if resume == 'auto' or (resume is None and cfg.get('resume') and not cfg.get('load_from')):
        cfg.load_from, notes = find_resumable(cfg.work_dir)
        cfg.resume = cfg.load_from is not None
        return notes
    if resume:
        cfg.resume, cfg.load_from = True, resume
    if cfg.get('load_from') and cfg.get('resume'):
        check_resumable(cfg.load_from)
    elif cfg.get('load_from') and '://' not in cfg.load_from:
        load_weights(cfg.load_from)
    return []


def main(args: argparse.Namespace) -> None:
    cfg = load_config(args.config)
    notes = merge_args(cfg, args)

    checked = check_run(cfg)  # wrong data are found before anything is written

    prepare_cpu_launch(cfg)
    runner = build_runner(cfg, checked.datasets)
    for note in notes:
        runner.logger.info(note)
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    for mode, sample in checked.samples.items():
        check_model(model, sample, mode)
    runner.train()


if __name__ == '__main__':
    arguments = parse_args()
    run_tool(lambda: main(arguments), launched_rank(arguments.launcher))
