#!/usr/bin/env python
"""Bring a pretrained backbone to another library: python tools/export.py CHECKPOINT --to mmdet."""

import argparse
import sys
from pathlib import Path

try:
    import simmim_mm  # noqa: F401  it checks the stack, before anything else is imported
except ImportError as error:
    sys.exit(f'error: {error}')

from simmim_mm.cli.common import run_tool
from simmim_mm.interop import TARGETS


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Write a pretrained backbone in another library's own architecture and names, "
        'and print the lines that use it there. Nothing in the checkpoint is executed.',
        epilog='Which backbone goes where, and what starts fresh: docs/export.md',
    )
    parser.add_argument('checkpoint', help='written by tools/train.py or tools/convert.py')
    parser.add_argument('--to', required=True, metavar='LIBRARY', help=', '.join(TARGETS))
    parser.add_argument(
        '-o', '--out', required=True, help='.pth or .safetensors file; for huggingface, a folder'
    )
    parser.add_argument(
        '--window', type=int, help="side of Swin's windows in tokens (default: as pretrained)"
    )
    parser.add_argument(
        '--img-size',
        type=int,
        nargs='+',
        metavar=('HEIGHT', 'WIDTH'),
        help='image size in pixels, one number for a square (default: as pretrained); position '
        'biases and embeddings are resized',
    )
    parser.add_argument(
        '--verify',
        action='store_true',
        help="build the library's own model, load strictly, compare features to 1e-4",
    )
    parser.add_argument('--force', action='store_true', help='replace what is there')
    return parser.parse_args()


def image_size(values: list):
    """Height and width, or None."""
    if values is None:
        return None
    if len(values) > 2:
        raise ValueError(f'--img-size takes a height and a width, got {len(values)} numbers')
    return values[0], values[-1]


def main(args: argparse.Namespace) -> None:
    size = image_size(args.img_size)

    from simmim_mm.interop import check_output, export_backbone, read_source, verify, write_export
    from simmim_mm.interop.libraries import snippet

    source = read_source(args.checkpoint)
    export = export_backbone(source, args.to, args.window, size)
    check_output(args.to, args.out, args.force)
    height, width = export.size
    print(f'{args.checkpoint}: {source.family}, for images of {height}x{width} pixels')
    if args.verify:
        outcome = verify(export)
        maps = ', '.join('x'.join(map(str, shape[1:])) for shape in outcome.maps)
        print(
            f"verified: {args.to}'s own {export.architecture} gives the same features ({maps}), "
            f'largest difference {outcome.difference:.1e}'
        )
    write_export(export, args.out, args.force)
    print(f'wrote {args.out}\n\n{snippet(export, Path(args.out))}\n')
    for reason in dict.fromkeys(export.fresh.values()):
        names = [name for name, why in export.fresh.items() if why == reason]
        print(f'- Starts fresh: {", ".join(names)}: {reason}.')
    for note in export.notes:
        print(f'- {note}')
    if args.to.startswith('mm') and Path(args.out).suffix == '.safetensors':
        print("- mmengine's init_cfg reads .pth only: load this file by other means.")


if __name__ == '__main__':
    arguments = parse_args()
    run_tool(lambda: main(arguments))
