#!/usr/bin/env python
"""Figures of a checkpoint on the validation data: python tools/test.py CONFIG CHECKPOINT."""

import argparse
import os
import os.path as osp
import sys

try:
    import simmim_mm  # noqa: F401  it checks the stack, before anything else is imported
except ImportError as error:
    sys.exit(f'error: {error}')

from mmengine.config import Config, DictAction
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner, load_state_dict

from simmim_mm.checkpoint.safe_load import find_state_dict, load_weights
from simmim_mm.cli.common import load_config, run_tool
from simmim_mm.engine.launch import adapt_dataloaders, launched_rank, prepare_cpu_launch


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Figures of a checkpoint on the validation data of its config: the masked loss '
        'of a pretraining; accuracy, AP or IoU of a classifier, detector or segmenter'
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint of a training with that config')
    parser.add_argument(
        '--work-dir', help='folder for the log (./work_dirs/<name of the config>/test)'
    )
    parser.add_argument('--amp', action='store_true', help='validate in mixed precision')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        help='override settings of the config, as key.of.setting=value',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def merge_args(cfg: Config, args: argparse.Namespace) -> None:
    """Enter the command line into the config, and leave out what only a training needs."""
    cfg.merge_from_dict(args.cfg_options)
    if not cfg.get('val_dataloader'):
        raise ValueError(
            f'{args.config} has no val_dataloader: give it one, with val_cfg and val_evaluator'
        )
    cfg.launcher = args.launcher
    name = osp.splitext(osp.basename(args.config))[0]
    cfg.work_dir = args.work_dir or osp.join(cfg.get('work_dir') or f'./work_dirs/{name}', 'test')
    cfg.train_dataloader = cfg.train_cfg = cfg.optim_wrapper = cfg.param_scheduler = None
    cfg.custom_hooks = []
    cfg.default_hooks = dict(cfg.get('default_hooks') or {}, checkpoint=None)  # saves no best one
    cfg.load_from, cfg.resume = None, False
    adapt_dataloaders(cfg)
    if args.amp:
        cfg.val_cfg.fp16 = True


def main(args: argparse.Namespace) -> None:
    cfg = load_config(args.config)
    merge_args(cfg, args)
    weights = find_state_dict(load_weights(args.checkpoint), args.checkpoint)

    prepare_cpu_launch(cfg)
    runner = Runner.from_cfg(cfg)
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    load_state_dict(model, weights, logger=runner.logger)
    runner.val()


if __name__ == '__main__':
    arguments = parse_args()
    run_tool(lambda: main(arguments), launched_rank(arguments.launcher))
