#!/usr/bin/env python
"""Vary settings of a pretraining and compare: python tools/study.py STUDY.py."""

import argparse
import re
import signal
import sys
from dataclasses import replace
from pathlib import Path

try:
    import simmim_mm  # noqa: F401  it checks the stack, before anything else is imported
except ImportError as error:
    sys.exit(f'error: {error}')

from simmim_mm.cli.common import run_tool

TOOLS = Path(__file__).resolve().parent


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Pretrain with each of several settings, probe the features, and write a table '
        'and plots. The same command goes on where it was interrupted; finished trainings are not '
        'repeated. docs/study.md tells what a study file holds.'
    )
    parser.add_argument('study', help='study file')
    parser.add_argument(
        '--work-dir', help='folder for everything (./work_dirs/<name of the study>)'
    )
    parser.add_argument('--jobs', type=int, default=1, help='trainings at a time (default: 1)')
    parser.add_argument(
        '--list', action='store_true', help='show the cases and the AvgDist of their masks only'
    )
    return parser.parse_args()


def say(line: str) -> None:
    print(line, flush=True)


def check_probe(study) -> list:
    """See that the probe's data are there; returns what it reads."""
    from simmim_mm.evaluation.knn import load_split

    if study.probe['type'] == 'log':
        return []
    load_split(study.probe['data'])
    return [study.probe['data']]


def make_trials(study, cases: list, probe_paths: list) -> list:
    """All cases with the first seed, then with the next."""
    from simmim_mm.experiments import Trial, fingerprint
    from simmim_mm.experiments.sweep import data_folders

    digests = {}
    trials = []
    for seed in study.all_seeds:
        for case in cases:
            paths = (*data_folders(case.cfg), *map(str, probe_paths))
            digests.setdefault(paths, fingerprint(paths))
            # A linear probe comes after; of the pretraining itself any logged metric will do.
            metric = 'loss' if study.probe['type'] == 'linear' else study.metric
            trials.append(Trial(case.name, case.cfg, metric, seed, data=digests[paths]))
    return trials


def probe_linearly(study, outcomes: list, work_dir: Path, args: argparse.Namespace) -> list:
    """Train a linear layer on the features of each pretraining."""
    from simmim_mm.experiments import Trial, fingerprint, run_trials
    from simmim_mm.experiments.downstream import downstream_config, set_budget
    from simmim_mm.experiments.labeled_data import read_class_folders
    from simmim_mm.experiments.pretrained import read_pretrained

    data = read_class_folders(study.probe['data'])
    digest = fingerprint([study.probe['data']])
    trials = []
    for outcome in outcomes:
        if outcome.error:
            continue
        path = last_checkpoint(outcome.work_dir)
        start = read_pretrained(outcome.trial.name, path)
        cfg = downstream_config(
            'linear', TOOLS.parent / 'configs', start.backbone, start.preprocessor, data
        )
        set_budget(cfg, epochs=study.probe.get('epochs'))
        cfg.model.backbone.init_cfg = start.init_cfg
        trial = outcome.trial
        known = f'{digest} {fingerprint([path])}'
        trials.append(Trial(trial.name, cfg, study.metric, trial.seed, data=known))
    say(f'\n{len(trials)} linear probes')
    probed = iter(run_trials(trials, work_dir / 'probes', train_command(), args.jobs, say))
    return [outcome if outcome.error else with_time(next(probed), outcome) for outcome in outcomes]


def last_checkpoint(work_dir: Path) -> Path:
    """The newest of a trial's checkpoints."""
    found = [*work_dir.glob('epoch_*.pth'), *work_dir.glob('iter_*.pth')]
    if not found:
        raise FileNotFoundError(
            f'no checkpoint in {work_dir}: let the config write one at the end of the training'
        )
    return max(found, key=lambda path: int(path.stem.rpartition('_')[2]))


def with_time(probed, pretrained):
    return replace(probed, seconds=probed.seconds + pretrained.seconds)


def train_command() -> list:
    return [sys.executable, str(TOOLS / 'train.py')]


def table(study, cases: list, outcomes: list) -> list:
    """A row for each case."""
    from simmim_mm.experiments.report import summarize

    rows = summarize(outcomes)
    return [
        {
            **case.columns,
            study.metric: rows[case.name]['mean'],
            **{key: rows[case.name][key] for key in ('sd', 'seeds', 'minutes')},
        }
        for case in cases
    ]


def draw(study, rows: list, work_dir: Path) -> list:
    """Plot the metric against columns; returns the files."""
    from simmim_mm.experiments.report import plot_columns

    varied = list(rows[0])[: list(rows[0]).index('avg_dist')]
    plots = study.plots or [
        dict(x=varied[0], group=varied[1] if len(varied) > 1 else None),
        dict(x='avg_dist', group=varied[-1] if len(varied) > 1 else None),
    ]
    files = []
    for plot in plots:
        for column in (plot['x'], plot.get('group')):
            if column is not None and column not in rows[0]:
                raise ValueError(f'plots: no column {column!r}; there are {", ".join(rows[0])}')
        if all(row[plot['x']] is None or row[study.metric] is None for row in rows):
            continue
        name = re.sub(r'\W+', '_', plot['x'])
        files.append(work_dir / f'results_{name}.png')
        plot_columns(files[-1], rows, plot['x'], study.metric, 'sd', plot.get('group'))
    return files


def main(args: argparse.Namespace) -> None:
    from mmengine.registry import init_default_scope

    from simmim_mm.experiments import report, run_trials
    from simmim_mm.experiments.sweep import load_study, study_cases
    from simmim_mm.experiments.tables import write_csv

    study = load_study(args.study)
    init_default_scope('simmim_mm')
    cases = study_cases(study)
    if args.list:
        say(report.text_table([case.columns for case in cases]))
        return
    work_dir = Path(args.work_dir or f'work_dirs/{Path(args.study).stem}')
    trials = make_trials(study, cases, check_probe(study))
    say(f'{len(trials)} trainings: {len(cases)} cases with {len(study.all_seeds)} seeds each')
    outcomes = run_trials(trials, work_dir / 'trials', train_command(), args.jobs, say)
    if study.probe['type'] == 'linear':
        outcomes = probe_linearly(study, outcomes, work_dir, args)

    rows = table(study, cases, outcomes)
    report.write_rows(work_dir, rows)
    write_csv(work_dir / 'trials.csv', report.trial_rows(outcomes))
    files = [work_dir / 'results.csv', work_dir / 'results.md', *draw(study, rows, work_dir)]
    say(f'\n{report.text_table(rows)}\n\nwrote {", ".join(map(str, files))}')
    if failed := sum(outcome.error is not None for outcome in outcomes):
        sys.exit(f'error: {failed} of {len(outcomes)} trainings failed; run it again to retry')


if __name__ == '__main__':
    arguments = parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the trainings, too
    try:
        run_tool(lambda: main(arguments))
    except KeyboardInterrupt:
        sys.exit('interrupted: the same command goes on from here')
