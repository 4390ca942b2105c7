"""Validate: ``simmim test CONFIG CHECKPOINT``."""

import argparse
import os
from typing import TYPE_CHECKING

from simmim_mm.cli.common import (
    add_run_options,
    default_work_dir,
    load_config,
    merge_options,
)

if TYPE_CHECKING:
    from mmengine.config import Config

HELP = 'validate a checkpoint on the data of its config'
DESCRIPTION = """
Validate a checkpoint on the data of its config: the masked loss of a pretraining; accuracy, AP or
IoU of a classifier, detector or segmenter.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint of a training with that config')
    parser.add_argument('--data', metavar='FOLDER', help='images to validate on')
    parser.add_argument('--work-dir', help='folder for the log (./work_dirs/NAME_OF_CONFIG/test)')
    parser.add_argument('--amp', action='store_true', help='validate in mixed precision')
    add_run_options(parser)


def merge_args(cfg: 'Config', args: argparse.Namespace) -> None:
    """Enter the command line into the config, and leave out what only a training needs."""
    from simmim_mm.engine.launch import adapt_dataloaders, complete_validation

    merge_options(cfg, args.cfg_options)
    complete_validation(cfg)
    if not cfg.get('val_dataloader'):
        raise ValueError(
            f'{args.config} has no val_dataloader: give it one, for a pretraining with '
            '--cfg-options val_dataloader.dataset.data_root=FOLDER'
        )
    if args.data:
        from simmim_mm.experiments.downstream import set_data_root

        set_data_root(cfg.val_dataloader.dataset, args.data)
    cfg.launcher = args.launcher
    folder = cfg.get('work_dir') or default_work_dir(args.config)
    cfg.work_dir = args.work_dir or os.path.join(folder, 'test')
    cfg.train_dataloader = cfg.train_cfg = cfg.optim_wrapper = cfg.param_scheduler = None
    cfg.custom_hooks = []
    cfg.default_hooks = dict(cfg.get('default_hooks') or {}, checkpoint=None)  # saves no best one
    cfg.load_from, cfg.resume = None, False
    adapt_dataloaders(cfg)
    if args.amp:
        cfg.val_cfg.fp16 = True


def run(args: argparse.Namespace) -> None:
    from simmim_mm._stack import require_mmcv_ops
    from simmim_mm.checkpoint import LoadReport, find_state_dict, load_into, load_weights
    from simmim_mm.engine.checks import check_run
    from simmim_mm.engine.launch import load_runner

    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = load_config(args.config)
    merge_args(cfg, args)
    if cfg.get('default_scope') == 'mmdet':
        require_mmcv_ops()
    weights = find_state_dict(load_weights(args.checkpoint), args.checkpoint)
    checked = check_run(cfg)
    runner, model = load_runner(cfg, checked.datasets | checked.evaluators)
    check = LoadReport.require_backbone
    runner.logger.info(load_into(model, weights, file=args.checkpoint, check=check))
    runner.val()
