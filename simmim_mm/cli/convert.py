"""Read checkpoints of other code: ``simmim convert SOURCE TARGET``."""

import argparse
from pathlib import Path

from simmim_mm.cli.common import add_cfg_options

HELP = 'convert a pretraining checkpoint of other code'
DESCRIPTION = """
Convert a pretraining checkpoint of other code: the authors', timm, transformers, OpenMMLab. Nothing
in it is executed.
"""


class _ListFamilies(argparse.Action):
    """Prints the families, which only interop knows, and ends."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from simmim_mm.interop import families

        for name, family in families().items():
            print(f'{name:17} {family.title}')
        parser.exit()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('source', help='the file of other code (.pth or .safetensors)')
    parser.add_argument('target', help='the checkpoint to write')
    text = 'where the file is from (default: by the names in it)'
    parser.add_argument('--family', default='auto', help=text)
    text = 'list the families, and exit'
    parser.add_argument('--families', nargs=0, action=_ListFamilies, help=text)
    text = 'which weights, of a file that holds several: student, model_ema, ...'
    parser.add_argument('--entry', help=text)
    parser.add_argument('--config-out', help='also write the config, as a file')
    parser.add_argument('--force', action='store_true', help='replace the target')
    text = "the authors' constructor arguments that the file does not hold: num_heads=3"
    add_cfg_options(parser, '--args', metavar='NAME=VALUE', help=text)


def run(args: argparse.Namespace) -> None:
    from simmim_mm.checkpoint import CheckpointError
    from simmim_mm.checkpoint.file_backend import AtomicLocalBackend
    from simmim_mm.interop import convert_checkpoint, families

    if args.config_out and Path(args.config_out).exists() and not args.force:
        raise CheckpointError(f'{args.config_out} exists: give another name, or --force')
    family = None if args.family == 'auto' else args.family
    family, config, report = convert_checkpoint(
        args.source, args.target, family, args.args, args.force, args.entry
    )
    print(f'{args.source}: {families()[family].title}')
    print(report)
    if any(name.startswith('neck.') for name in report.missing):
        print('the file has no decoder: good for features and fine-tuning, not for reconstructions')
    print(f'wrote {args.target}')
    if args.config_out:
        AtomicLocalBackend().put_text(config.pretty_text, args.config_out)
        print(f'wrote {args.config_out}')
