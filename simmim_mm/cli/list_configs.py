"""List the configs: ``simmim list [PATTERN]``."""

import argparse

HELP = 'list the configs, with what each is for'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('pattern', nargs='?', help="part of a path ('swin'), or 'mae_*_folder-*'")
    parser.add_argument('--paths', action='store_true', help='show the files instead of the names')


def run(args: argparse.Namespace) -> None:
    from simmim_mm.catalog import list_configs

    found = list_configs(args.pattern)
    if not found:
        raise ValueError(f'no config matches {args.pattern!r}')
    folder = None
    for info in found:
        if info.path.parent != folder and not args.paths:
            folder = info.path.parent
            print(f'{folder.name}/')
        label = str(info.path) if args.paths else f'  {info.path.stem}'
        print(f'{label}\n      {info.summary}' if info.summary and not args.paths else label)
