#!/usr/bin/env python
"""Bring a checkpoint of other code to ours: python tools/convert.py SOURCE TARGET."""

import argparse
import sys
from pathlib import Path

try:
    import simmim_mm  # noqa: F401  it checks the stack, before anything else is imported
except ImportError as error:
    sys.exit(f'error: {error}')

from mmengine.config import DictAction

from simmim_mm.cli.common import run_tool
from simmim_mm.interop import families


def parse_args() -> argparse.Namespace:
    known = '\n'.join(f'  {name:17} {family.title}' for name, family in families().items())
    parser = argparse.ArgumentParser(
        description='Convert a pretraining checkpoint of other code. Nothing in it is executed.',
        epilog=f'families:\n{known}',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('source', help='the file of other code (.pth or .safetensors)')
    parser.add_argument('target', help='the checkpoint to write')
    parser.add_argument('--family', default='auto', help='see below (default: found by the names)')
    parser.add_argument('--config-out', help='also write the config, as a file')
    parser.add_argument('--force', action='store_true', help='replace the target')
    parser.add_argument(
        '--args',
        nargs='+',
        action=DictAction,
        metavar='NAME=VALUE',
        help="the authors' constructor arguments, where the file does not tell them: num_heads=3",
    )
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    from simmim_mm.checkpoint.safe_load import CheckpointError
    from simmim_mm.interop.converter import convert_checkpoint

    if args.config_out and Path(args.config_out).exists() and not args.force:
        raise CheckpointError(f'{args.config_out} exists: give another name, or --force')
    family = None if args.family == 'auto' else args.family
    family, config, report = convert_checkpoint(
        args.source, args.target, family, args.args, args.force
    )
    print(f'{args.source}: {families()[family].title}')
    print(report)
    if any(name.startswith('neck.') for name in report.missing):
        print('the file has no decoder: good for features and fine-tuning, not for reconstructions')
    print(f'wrote {args.target}')
    if args.config_out:
        Path(args.config_out).parent.mkdir(parents=True, exist_ok=True)
        Path(args.config_out).write_text(config.pretty_text, encoding='utf-8')
        print(f'wrote {args.config_out}')


if __name__ == '__main__':
    arguments = parse_args()
    run_tool(lambda: main(arguments))
