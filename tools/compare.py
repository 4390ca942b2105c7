#!/usr/bin/env python
"""Did pretraining help? python tools/compare.py TASK DATA --checkpoints NAME=FILE [...].

Trains from each checkpoint and from scratch on labeled data, on the same budget and with the same
seeds, and writes a table and a plot.
"""

import argparse
import signal
import sys
from pathlib import Path

try:
    import simmim_mm  # noqa: F401  it checks the stack, before anything else is imported
except ImportError as error:
    sys.exit(f'error: {error}')

from mmengine.config import Config, DictAction

from simmim_mm.cli.common import load_config, run_tool

TOOLS = Path(__file__).resolve().parent
TASKS = ('classification', 'detection', 'segmentation')
SCRATCH = 'from scratch'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Train on labeled data from checkpoints and from scratch, on equal terms, and '
        'compare. The same command goes on where it was interrupted; finished trainings are not '
        'repeated.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='layouts of DATA\n'
        '  classification  DATA/{train,val}/CLASS/*.jpg\n'
        '  detection       DATA/annotations/instances_{train,val}.json or DATA/{train,val}.json\n'
        "                  in COCO's format, and DATA/images\n"
        '  segmentation    DATA/img_dir/{train,val} and DATA/ann_dir/{train,val}, or\n'
        '                  DATA/{train,val}/{images,labels}: PNG maps of class numbers\n',
    )
    parser.add_argument('task', choices=TASKS)
    parser.add_argument('data', nargs='?', help='folder of the labeled data; not with --config')
    parser.add_argument(
        '--checkpoints',
        nargs='+',
        required=True,
        metavar='[NAME=]FILE',
        help='pretrained checkpoints, with the names that they have in the table',
    )
    parser.add_argument(
        '--config',
        help='your own config of mmpretrain, mmdet or mmseg instead of a ready-made one: nothing '
        'of it is changed but model.backbone.init_cfg and, if given, the budget',
    )
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument('--iters', type=int, help='iterations of each training')
    budget.add_argument('--epochs', type=int, help='epochs of each training')
    parser.add_argument('--seeds', type=int, default=2, help='trainings of each (default: 2)')
    parser.add_argument('--jobs', type=int, default=1, help='trainings at a time (default: 1)')
    parser.add_argument('--work-dir', help='folder for everything (./work_dirs/compare_TASK)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        help='override settings of the config, as key.of.setting=value',
    )
    group = parser.add_argument_group('classification')
    group.add_argument(
        '--probe',
        choices=['finetune', 'linear', 'knn'],
        default='finetune',
        help='train all weights, a linear layer on fixed features, or nothing (default: finetune)',
    )
    group = parser.add_argument_group('detection')
    group.add_argument('--train-ann', metavar='JSON', help='where it is not found by its name')
    group.add_argument('--val-ann', metavar='JSON')
    group.add_argument('--images', metavar='FOLDER')
    group = parser.add_argument_group('segmentation')
    group.add_argument('--classes', nargs='+', help='names of the values 0, 1, ... of the maps')
    group.add_argument(
        '--ignore-value', type=int, default=255, help='of pixels without label (default: 255)'
    )
    parser.add_argument('--metric', help='result to compare (accuracy/top1, coco/bbox_mAP, mIoU)')
    return parser.parse_args()


def check_args(args: argparse.Namespace) -> None:
    if bool(args.data) == bool(args.config):
        raise ValueError('give either DATA or --config, which says itself what to train on')
    if args.probe == 'knn' and (args.task != 'classification' or args.config):
        raise ValueError('--probe knn takes DATA of a classification, and no --config')
    for name in ('iters', 'epochs', 'seeds', 'jobs'):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f'--{name} must be at least 1, got {value}')


def read_checkpoints(texts: list) -> list:
    from simmim_mm.experiments.pretrained import read_pretrained

    found = []
    for text in texts:
        name, _, path = text.rpartition('=') if not Path(text).exists() else ('', '', text)
        found.append(read_pretrained(name or f'{Path(path).parent.name}/{Path(path).stem}', path))
    names = [SCRATCH, *(pretrained.name for pretrained in found)]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f'the name {twice.pop()!r} is taken twice: name them as NAME=FILE')
    return found


def read_data(args: argparse.Namespace, work_dir: Path):
    """What the labeled data hold; raises where they cannot be used."""
    from simmim_mm.experiments.coco_json import find_coco, read_coco
    from simmim_mm.experiments.labeled_data import read_class_folders
    from simmim_mm.experiments.segmentation_maps import (
        find_segmentation_maps,
        read_segmentation_maps,
    )

    if args.task == 'classification':
        return read_class_folders(args.data)
    if args.task == 'detection':
        splits = find_coco(args.data, args.train_ann, args.val_ann, args.images)
        return read_coco(*splits, work_dir / 'annotations')
    splits = find_segmentation_maps(args.data)
    folder = work_dir / 'segmentation_maps'
    return read_segmentation_maps(*splits, folder, args.classes, args.ignore_value)


def ready_made(args: argparse.Namespace, checkpoints: list, data) -> list:
    """A config for each checkpoint, of the backbone that it holds."""
    from simmim_mm.experiments.downstream import downstream_config

    configs = []
    for pretrained in checkpoints:
        if pretrained.backbone is None:
            raise ValueError(
                f'{pretrained.path} carries no config to tell what it is of: give a config with '
                'that backbone, --config'
            )
        configs.append(
            downstream_config(
                args.probe if args.task == 'classification' else args.task,
                TOOLS.parent / 'configs',
                pretrained.backbone,
                pretrained.preprocessor,
                data,
            )
        )
    return configs


def prepare(args: argparse.Namespace, work_dir: Path) -> tuple:
    """Look at everything that can be wrong; returns starts (name, config, checkpoint) and paths."""
    from simmim_mm.experiments.downstream import set_budget
    from simmim_mm.experiments.pretrained import check_config, check_fits

    checkpoints = read_checkpoints(args.checkpoints)
    if args.config:
        configs = [load_config(args.config) for _ in checkpoints]
    else:
        data = read_data(args, work_dir)
        print(f'{args.data}: {data}', *data.notes, sep='\n', flush=True)
        configs = ready_made(args, checkpoints, data)
    for cfg in configs:
        set_budget(cfg, args.iters, args.epochs)
        cfg.merge_from_dict(args.cfg_options)
    paths = check_config(configs[0])

    starts: list = []
    for pretrained, cfg in zip(checkpoints, configs):
        cfg.model.backbone.init_cfg = None
        name = with_scratch(starts, pretrained, cfg.to_dict())
        check_fits(cfg.model.backbone.to_dict(), pretrained)
        cfg.model.backbone.init_cfg = pretrained.init_cfg
        starts.append((name, cfg.to_dict(), pretrained.path))
    return starts, paths


def with_scratch(starts: list, pretrained, settings: dict) -> str:
    """Add a start from scratch, unless there is one of the same settings; returns the name."""
    scratch = [other for _, other, path in starts if path is None]
    if settings not in scratch:
        starts.append((f'{SCRATCH} ({pretrained.name})' if scratch else SCRATCH, settings, None))
    return pretrained.name


def make_trials(starts: list, paths: list, args: argparse.Namespace) -> list:
    """All starts with the first seed, then with the second: a first answer comes early."""
    from simmim_mm.experiments import Trial, fingerprint
    from simmim_mm.experiments.downstream import TASK_METRICS

    data = fingerprint(paths)
    trials = []
    for seed in range(args.seeds):
        for name, settings, path in starts:
            known = f'{data} {fingerprint([path])}' if path else data
            absent = 0.0 if args.task == 'detection' else None
            metric = args.metric or TASK_METRICS[args.task]
            trials.append(Trial(name, Config(settings), metric, seed, data=known, absent=absent))
    return trials


def baseline_names(starts: list) -> dict:
    """For each start the one from scratch that it is held against."""
    scratch = [(name, settings) for name, settings, path in starts if path is None]
    return {
        name: next(n for n, own in scratch if own == bare(settings)) for name, settings, _ in starts
    }


def bare(settings: dict) -> dict:
    """Settings of a training, without the weights that it starts from."""
    if 'model' not in settings:
        return settings
    model = settings['model']
    backbone = dict(model['backbone'], init_cfg=None)
    return dict(settings, model=dict(model, backbone=backbone))


def conclude(outcomes: list, starts: list, work_dir: Path) -> str:
    """Write results.csv, results.md, results.png and trials.csv; returns what to print."""
    from simmim_mm.experiments import report
    from simmim_mm.experiments.tables import write_csv

    metric = outcomes[0].trial.metric
    rows, table, verdicts = report.summarize(outcomes), [], []
    baselines = baseline_names(starts)
    for name, row in rows.items():
        base = rows[baselines[name]]
        told = row['mean'] is not None and base['mean'] is not None and base is not row
        difference = row['mean'] - base['mean'] if told else None
        table.append({'start': name, metric: row.pop('mean'), **row, 'difference': difference})
        row['mean'] = table[-1][metric]
        if base is not row:
            verdicts.append(report.verdict(row, base, name, baselines[name]))
    report.write_rows(work_dir, table, '\n\n'.join(verdicts))
    write_csv(work_dir / 'trials.csv', report.trial_rows(outcomes))
    if any(outcome.error is None for outcome in outcomes):
        report.plot_starts(work_dir / 'results.png', outcomes)
    return '\n'.join([report.text_table(table), '', *verdicts])


def run_probe(args: argparse.Namespace) -> tuple:
    """Nearest neighbors: outcomes and starts, without any training."""
    from simmim_mm.experiments.knn_probe import run_knn

    starts: list = []
    for pretrained in read_checkpoints(args.checkpoints):
        name = with_scratch(starts, pretrained, pretrained.backbone)
        starts.append((name, pretrained.backbone, pretrained))
    runs = [
        (name, start or next(x for _, b, x in starts if x and b == backbone), start is not None)
        for name, backbone, start in starts
    ]
    print(f'{args.data}: nearest neighbors, nothing is trained', flush=True)
    return run_knn(runs, args.data, args.seeds, say), starts


def say(line: str) -> None:
    print(line, flush=True)


def main(args: argparse.Namespace) -> None:
    from simmim_mm.experiments import run_trials

    check_args(args)
    work_dir = Path(args.work_dir or f'work_dirs/compare_{args.task}')
    if args.probe == 'knn':
        outcomes, starts = run_probe(args)
    else:
        starts, paths = prepare(args, work_dir)
        trials = make_trials(starts, paths, args)
        say(f'{len(trials)} trainings: {len(starts)} starts with {args.seeds} seeds each')
        command = [sys.executable, str(TOOLS / 'train.py')]
        outcomes = run_trials(trials, work_dir / 'trials', command, args.jobs, say)
    say(f'\n{conclude(outcomes, starts, work_dir)}\n\nwrote results and trials to {work_dir}')
    if failed := sum(outcome.error is not None for outcome in outcomes):
        sys.exit(f'error: {failed} of {len(outcomes)} trainings failed; run it again to retry')


if __name__ == '__main__':
    arguments = parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the trainings, too
    try:
        run_tool(lambda: main(arguments))
    except KeyboardInterrupt:
        sys.exit('interrupted: the same command goes on from here')
