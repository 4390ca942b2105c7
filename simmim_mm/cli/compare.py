"""Did pretraining help? ``simmim compare TASK DATA --checkpoints NAME=FILE [...]``."""

import argparse
import sys
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

from simmim_mm.catalog import configs_folder
from simmim_mm.cli.common import (
    add_cfg_options,
    add_executor_options,
    choose_executor,
    load_config,
    merge_options,
    run_trainings,
    say,
)

if TYPE_CHECKING:
    from mmengine.config import Config

    from simmim_mm.experiments.compare import Start
    from simmim_mm.experiments.labeled_data import LabeledData
    from simmim_mm.experiments.pretrained import Pretrained

HELP = 'train from checkpoints and from scratch on labeled data, and compare'
DESCRIPTION = """
Train on labeled data from checkpoints and from scratch, on the same budget and with the same
seeds, and write a table and a plot. The same command continues where it was interrupted; finished
trainings are not repeated.

layouts of DATA
  classification  DATA/{train,val}/CLASS/*.jpg
  detection       DATA/annotations/instances_{train,val}.json or DATA/{train,val}.json
                  in COCO's format, and DATA/images
  segmentation    DATA/img_dir/{train,val} and DATA/ann_dir/{train,val}, or
                  DATA/{train,val}/{images,labels}: PNG or TIFF maps of class numbers
"""
RENAMED = {'--figure': '--metric'}
TASKS = ('classification', 'detection', 'segmentation')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument('task', choices=TASKS)
    parser.add_argument('data', nargs='?', help='folder of the labeled data; not with --config')
    text = 'pretrained checkpoints, with the names that they have in the table'
    parser.add_argument('--checkpoints', nargs='+', required=True, metavar='[NAME=]FILE', help=text)
    parser.add_argument(
        '--config',
        help='your own config of mmpretrain, mmdet or mmseg instead of a ready-made one: only '
        'model.backbone.init_cfg and, if given, the budget are changed',
    )
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument('--iters', type=int, help='iterations of each training')
    budget.add_argument('--epochs', type=int, help='epochs of each training')
    budget.add_argument(
        '--minutes',
        type=float,
        metavar='N',
        help='time of each training, without validations: equal for all, whatever a step takes',
    )
    parser.add_argument('--seeds', type=int, default=2, help='trainings of each (default: 2)')
    add_executor_options(parser)
    parser.add_argument('--work-dir', help='folder for everything (./work_dirs/compare_TASK)')
    parser.add_argument(
        '--label-share',
        type=float,
        nargs='+',
        metavar='FRACTION',
        help='train on this fraction of the labeled images, with an equal fraction of each class; '
        'the same images from every start, and smaller shares are parts of larger ones; several '
        'fractions give a curve',
    )
    add_cfg_options(parser)
    group = parser.add_argument_group('classification')
    probes = ('finetune', 'linear', 'knn')
    text = 'train all weights, a linear layer on frozen features, or nothing (default: finetune)'
    group.add_argument('--probe', choices=probes, default=probes[0], help=text)
    group = parser.add_argument_group('detection')
    group.add_argument('--train-ann', metavar='JSON', help='where it is not found by its name')
    group.add_argument('--val-ann', metavar='JSON')
    group.add_argument('--images', metavar='FOLDER')
    group = parser.add_argument_group('segmentation')
    group.add_argument(
        '--classes', nargs='+', help='names of the values of the maps, in their order'
    )
    group.add_argument(
        '--ignore-value', type=int, default=255, help='of pixels without label (default: 255)'
    )
    group.add_argument(
        '--values',
        nargs='+',
        default=[],
        metavar='OLD=NEW',
        help='change values of the maps, or take colors for values: 255=1, 7=ignore, #ff0000=2',
    )
    parser.add_argument('--metric', help='result to compare (accuracy/top1, coco/bbox_mAP, mIoU)')


def check_args(args: argparse.Namespace) -> None:
    if bool(args.data) == bool(args.config):
        raise ValueError('give either DATA or --config, which says itself what to train on')
    if args.probe == 'knn' and (args.task != 'classification' or args.config):
        raise ValueError('--probe knn takes DATA of a classification, and no --config')
    if args.probe == 'knn' and args.label_share:
        raise ValueError('--label-share is of trainings; --probe knn does not train')
    if args.minutes is not None and not 0 < args.minutes < float('inf'):
        raise ValueError(f'--minutes must be positive, got {args.minutes:g}')
    for name in ('iters', 'epochs', 'seeds', 'jobs'):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f'--{name} must be at least 1, got {value}')


def parse_values(texts: list[str], ignored: int) -> dict[int | str, int]:
    """``255=1 7=ignore`` as the ``values`` of ``LoadSegmentationMap``."""
    from simmim_mm.datasets.readers.segmentation_maps import parse_value

    pairs = [text.partition('=')[::2] for text in texts]
    named = {'ignore': str(ignored)}
    return dict(parse_value((old, named.get(new, new))) for old, new in pairs)


def read_data(args: argparse.Namespace) -> 'LabeledData':
    """What the labeled data hold; raises where they cannot be used."""
    from simmim_mm.experiments.coco_json import find_and_read_coco
    from simmim_mm.experiments.labeled_data import read_class_folders
    from simmim_mm.experiments.segmentation_maps import (
        find_segmentation_maps,
        read_segmentation_maps,
    )

    if args.task == 'classification':
        return read_class_folders(args.data)
    if args.task == 'detection':
        return find_and_read_coco(args.data, args.train_ann, args.val_ann, args.images)
    splits = find_segmentation_maps(args.data)
    values = parse_values(args.values, args.ignore_value)
    return read_segmentation_maps(*splits, args.classes, args.ignore_value, values)


def ready_made(
    args: argparse.Namespace, checkpoints: list['Pretrained'], data: 'LabeledData'
) -> list['Config']:
    """A config for each checkpoint, of the backbone that it holds."""
    from simmim_mm.experiments.channels import use_loader
    from simmim_mm.experiments.downstream import downstream_config

    task = args.probe if args.task == 'classification' else args.task
    configs = []
    for checkpoint in checkpoints:
        if checkpoint.backbone is None:
            raise ValueError(
                f'{checkpoint.path} carries no config that says what it is: `simmim convert '
                f'{checkpoint.path} OUT.pth` writes one into public weights; for a backbone that '
                'it does not know, give a config of your own with --config'
            )
        backbone, preprocessor = checkpoint.backbone, checkpoint.preprocessor
        cfg = downstream_config(task, configs_folder(), backbone, preprocessor, data)
        if checkpoint.loader:
            use_loader(cfg, checkpoint.loader, preprocessor)
        configs.append(cfg)
    return configs


def prepare(args: argparse.Namespace, work_dir: Path) -> tuple[list['Start'], list[Path]]:
    """Look at everything that can be wrong; returns starts, and paths of the data."""
    from simmim_mm._stack import require_mmcv_ops
    from simmim_mm.experiments.compare import check_starts, read_checkpoints
    from simmim_mm.experiments.downstream import set_budget, set_minutes
    from simmim_mm.experiments.label_share import take_share
    from simmim_mm.experiments.pretrained import check_config

    check_args(args)
    if args.task == 'detection':
        require_mmcv_ops()
    checkpoints = read_checkpoints(args.checkpoints)
    if args.config:
        configs = [load_config(args.config) for _ in checkpoints]
    else:
        data = read_data(args)
        print(f'{args.data}: {data}', *data.notes, sep='\n', flush=True)
        configs = ready_made(args, checkpoints, data)
    for cfg in configs:
        set_budget(cfg, args.iters, args.epochs)
        if args.minutes is not None:
            set_minutes(cfg, args.minutes)
        merge_options(cfg, args.cfg_options)
    paths = check_config(configs[0])
    if not args.label_share:
        return check_starts(checkpoints, configs), paths
    starts: list[Start] = []
    for share in args.label_share:
        own = deepcopy(configs)
        say(take_share(own, share))
        found = check_starts(checkpoints, own)
        several = len(args.label_share) > 1
        starts += [start.at_share(share) for start in found] if several else found
    return starts, paths


def run(args: argparse.Namespace) -> None:
    from simmim_mm.experiments import compare

    work_dir = Path(args.work_dir or f'work_dirs/compare_{args.task}')
    if args.probe == 'knn':
        check_args(args)
        say(f'{args.data}: nearest neighbors, nothing is trained')
        checkpoints = compare.read_checkpoints(args.checkpoints)
        outcomes, starts = compare.run_knn_probe(checkpoints, args.data, args.seeds, say)
    else:
        starts, paths = prepare(args, work_dir)
        executor = choose_executor(args, work_dir)
        trials = compare.make_trials(starts, paths, args.task, args.metric, args.seeds)
        say(f'{len(trials)} trainings: {len(starts)} starts with {args.seeds} seeds each')
        outcomes = run_trainings(trials, work_dir / 'trials', executor)
    results = compare.conclude(outcomes, starts, work_dir)
    say(f'\n{results}\n\nwrote results and trials to {work_dir}')
    if failed := sum(outcome.error is not None for outcome in outcomes):
        sys.exit(f'error: {failed} of {len(outcomes)} trainings failed; run it again to retry')
