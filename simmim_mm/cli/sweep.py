"""Vary settings of a pretraining and compare: ``simmim sweep SWEEP.py``."""

import argparse
import sys
from pathlib import Path

from simmim_mm.catalog import configs_folder
from simmim_mm.cli.common import add_executor_options, choose_executor, run_trainings, say

HELP = 'pretrain under each of several settings, probe the features, and compare'
DESCRIPTION = """
Pretrain under each of several settings, probe the features, and write a table and plots. The same
command continues where it was interrupted; finished trainings are not repeated.
What a sweep file holds: docs/how-to/sweep.md.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('sweep', help='sweep file')
    parser.add_argument('--work-dir', help='folder for everything (./work_dirs/NAME_OF_SWEEP)')
    add_executor_options(parser)
    parser.add_argument(
        '--list', action='store_true', help='show the cases and the AvgDist of their masks only'
    )


def run(args: argparse.Namespace) -> None:
    from mmengine.registry import init_default_scope

    from simmim_mm.experiments import report, sweep

    plan = sweep.load_sweep(args.sweep)
    init_default_scope('simmim_mm')
    cases = sweep.sweep_cases(plan)
    if args.list:
        say(report.text_table([case.columns for case in cases]))
        return
    work_dir = Path(args.work_dir or f'work_dirs/{Path(args.sweep).stem}')
    executor = choose_executor(args, work_dir)
    trials = sweep.make_trials(plan, cases)
    say(f'{len(trials)} trainings: {len(cases)} cases with {len(plan.all_seeds)} seeds each')
    outcomes = run_trainings(trials, work_dir / 'trials', executor)
    if plan.probe['type'] == 'linear':
        probes = sweep.linear_probes(plan, outcomes, configs_folder())
        say(f'\n{len(probes)} linear probes')
        probed = iter(run_trainings(probes, work_dir / 'probes', executor))
        for i, outcome in enumerate(outcomes):
            if not outcome.error:
                outcomes[i] = next(probed)
                outcomes[i].seconds += outcome.seconds
    say(f'\n{sweep.write_results(plan, cases, outcomes, work_dir)}')
    if failed := sum(outcome.error is not None for outcome in outcomes):
        sys.exit(f'error: {failed} of {len(outcomes)} trainings failed; run it again to retry')
