"""Write for other libraries: ``simmim export CHECKPOINT --to LIBRARY --out FILE``."""

import argparse

from simmim_mm.cli.common import load_config

HELP = 'write a model as ONNX, or a backbone for another library'
DESCRIPTION = """
Write a pretrained backbone in another library's own architecture and names, or a backbone or whole
model as an ONNX file, and print the lines that use it there. Nothing in the checkpoint is executed.
Which backbone goes where, and what starts fresh: docs/how-to/export.md; ONNX and int8:
docs/how-to/deploy.md.
"""
LIBRARIES = ('mmpretrain', 'mmdet', 'mmseg', 'timm', 'huggingface')
_ONNX_ONLY = ('part', 'any_size', 'opset', 'config')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('checkpoint', help='written by `simmim train` or `simmim convert`')
    text = f'{", ".join(LIBRARIES)} or onnx'
    parser.add_argument('--to', required=True, metavar='LIBRARY', help=text)
    parser.add_argument(
        '-o',
        '--out',
        required=True,
        help='.pth or .safetensors file; for huggingface, a folder; for onnx, an .onnx file',
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
        help="build the library's own model, load strictly, compare features to 1e-4; of onnx, "
        'compare what onnxruntime and OpenVINO give',
    )
    parser.add_argument('--force', action='store_true', help='replace what is there')
    onnx = parser.add_argument_group('of --to onnx')
    onnx.add_argument(
        '--part',
        choices=['backbone', 'model'],
        help='the backbone, or the whole model, which of a pretraining reconstructs images '
        '(default: the backbone of a pretraining, else the model)',
    )
    text = 'take images of any size; refused where results would be wrong, which is tried'
    onnx.add_argument('--any-size', action='store_true', default=None, help=text)
    onnx.add_argument('--opset', type=int, help="version of ONNX's operators (20)")
    onnx.add_argument('--config', help='config file, for a checkpoint without its own')


def run(args: argparse.Namespace) -> None:
    given = {name: getattr(args, name) for name in _ONNX_ONLY if getattr(args, name) is not None}
    if args.to == 'onnx':
        from simmim_mm.deploy import export_onnx

        if args.config:
            given['config'] = load_config(args.config)
        report = export_onnx(
            args.checkpoint,
            args.out,
            window=args.window,
            img_size=args.img_size,
            verify=args.verify,
            overwrite=args.force,
            **given,
        )
    elif given:
        raise ValueError(f'--{next(iter(given)).replace("_", "-")} is an option of --to onnx')
    else:
        from simmim_mm.interop import export_checkpoint

        report = export_checkpoint(
            args.checkpoint, args.to, args.out, args.window, args.img_size, args.verify, args.force
        )
    print(report)
