"""The command `simmim`: a module for each verb.

A verb's module has ``HELP`` (one line), perhaps ``DESCRIPTION``, ``RENAMED`` (options of version
0.1 to the ones of today) and ``CONTINUES`` (what was interrupted, the same command finishes),
``add_arguments(parser)`` and ``run(args)``. At its top it imports only the standard library and
:mod:`simmim_mm.cli.common`, so that ``--help`` is quick.
"""

import argparse
import atexit
import gc
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from simmim_mm.cli.common import renew_options, run_tool
from simmim_mm.version import __version__

VERBS = {
    'pretrain': 'pretrain',
    'train': 'train',
    'plan': 'plan',
    'distill': 'distill',
    'test': 'test',
    'reconstruct': 'reconstruct',
    'report': 'report',
    'board': 'board',
    'compare': 'compare',
    'sweep': 'sweep',
    'robustness': 'robustness',
    'shape-bias': 'shape_bias',
    'knn': 'knn',
    'embed': 'embed',
    'convert': 'convert',
    'export': 'export',
    'prune': 'prune',
    'quantize': 'quantize',
    'bench-model': 'bench_model',
    'list': 'list_configs',
    'doctor': 'doctor',
    'stats': 'stats',
    'scan': 'scan',
    'cache': 'cache',
    'shard': 'shard',
    'split': 'split',
    'make-shapes': 'make_shapes',
    'cifar10': 'cifar10',
    'mask-stats': 'mask_stats',
    'mask-samples': 'mask_samples',
    'coverage': 'coverage',
    'spectrum': 'spectrum',
}


def load_verb(name: str) -> ModuleType:
    return import_module(f'{__name__}.{VERBS[name]}')


def parse_args(argv: Sequence[str]) -> tuple[ModuleType, argparse.Namespace]:
    """Module of a verb, and its arguments; ends the process on wrong ones, as argparse does."""
    if not argv or argv[0] not in VERBS:
        _overview().parse_args(argv or ['--help'])
    name = argv[0]
    verb = load_verb(name)
    parser = argparse.ArgumentParser(
        f'simmim {name}', description=getattr(verb, 'DESCRIPTION', verb.HELP)
    )
    verb.add_arguments(parser)
    return verb, parser.parse_args(renew_options(name, argv[1:], getattr(verb, 'RENAMED', {})))


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``simmim`` with a verb and its arguments; None takes those of the process."""
    atexit.register(gc.freeze)  # Python's last search for garbage takes a second after torch
    verb, args = parse_args(sys.argv[1:] if argv is None else argv)
    rank = 0
    if getattr(args, 'launcher', 'none') != 'none':
        from simmim_mm.engine.launch import launched_rank

        rank = launched_rank(args.launcher)
    run_tool(lambda: verb.run(args), rank, getattr(verb, 'CONTINUES', False))


def run_verb(name: str) -> None:
    """Run a verb with the arguments of the process: for a script that is one verb."""
    main([name, *sys.argv[1:]])


def _overview() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        'simmim',
        usage='simmim [-h] [--version] VERB ...',
        description='Masked image modeling: pretrain on your images, and see what it is good for.',
        epilog='`simmim VERB --help` shows the options of a verb.',
    )
    parser.add_argument('--version', action='version', version=__version__)
    verbs = parser.add_subparsers(title='verbs', metavar='VERB', required=True)
    for name in VERBS:
        verbs.add_parser(name, help=load_verb(name).HELP)
    return parser
