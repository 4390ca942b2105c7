"""A page on a training: ``simmim report WORK_DIR``."""

import argparse

HELP = 'write one page on a training: curves, pictures, config'
DESCRIPTION = """
Write a page on a training, finished or not: its curves and what they say, the first, a middle and
the last reconstructions, statistics and samples of its images, spectra, config, environment, and
what to do next. It is one HTML file without
scripts, which can be sent to others.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('work_dir', help='folder of a training')
    parser.add_argument(
        '--num',
        type=int,
        default=16,
        help='training images for statistics, samples and spectra; 0: none of these (%(default)s)',
    )
    parser.add_argument('--out', metavar='FILE', help='the page (WORK_DIR/report.html)')


def run(args: argparse.Namespace) -> None:
    from simmim_mm.experiments.run_report import write_run_report

    print(f'wrote {write_run_report(args.work_dir, args.out, args.num)}')
