"""Write for other libraries: ``simmim export CHECKPOINT --to LIBRARY --out FILE``."""

import argparse

HELP = "write a backbone in another library's architecture and names"
DESCRIPTION = """
Write a pretrained backbone in another library's own architecture and names, and print the lines
that use it there. Nothing in the checkpoint is executed. Which backbone goes where, and what starts
fresh: docs/how-to/export.md.
"""
LIBRARIES = ('mmpretrain', 'mmdet', 'mmseg', 'timm', 'huggingface')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('checkpoint', help='written by `simmim train` or `simmim convert`')
    parser.add_argument('--to', required=True, metavar='LIBRARY', help=', '.join(LIBRARIES))
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
    text = "build the library's own model, load strictly, compare features to 1e-4"
    parser.add_argument('--verify', action='store_true', help=text)
    parser.add_argument('--force', action='store_true', help='replace what is there')


def run(args: argparse.Namespace) -> None:
    from simmim_mm.interop import export_checkpoint

    report = export_checkpoint(
        args.checkpoint, args.to, args.out, args.window, args.img_size, args.verify, args.force
    )
    print(report)
