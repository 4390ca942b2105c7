"""Quantize an ONNX file: ``simmim quantize MODEL.onnx --images FOLDER --out FILE``."""

import argparse
import sys

HELP = 'turn an exported ONNX file into 8-bit integers'
DESCRIPTION = """
Turn a file that `simmim export --to onnx` wrote into one of 8-bit integers: a quarter of the size
and, on processors with instructions for it, faster. The range of activations is estimated from your
images, loaded as in the training. docs/how-to/deploy.md says which method to use when.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('model', help='.onnx file that `simmim export --to onnx` wrote')
    parser.add_argument(
        '--method',
        default='openvino',
        help='openvino: weights and activations, for OpenVINO; static: the same for onnxruntime; '
        'dynamic: matrix products only, for onnxruntime, without images (%(default)s)',
    )
    parser.add_argument(
        '-o', '--out', required=True, help='.xml file of openvino (a .bin goes beside it), or .onnx'
    )
    parser.add_argument('--images', metavar='FOLDER', help='images like those to come, no labels')
    parser.add_argument('--num-images', type=int, default=300, help='of them (%(default)s)')
    text = 'compare size, latency and results with the original'
    parser.add_argument('--verify', action='store_true', help=text)
    parser.add_argument(
        '--data',
        metavar='FOLDER',
        help='with --verify, labeled images: a folder for each class, for the accuracy of a '
        'classifier or of nearest neighbors among features; of a segmenter, images',
    )
    text = 'segmentation maps of the images of --data'
    parser.add_argument('--maps', metavar='FOLDER', help=text)
    parser.add_argument('--threads', type=int, default=0, help='of --verify (as runtimes choose)')
    parser.add_argument('--force', action='store_true', help='replace what is there')


def run(args: argparse.Namespace) -> None:
    from pathlib import Path

    from simmim_mm.deploy.int8 import quantize, read_onnx
    from simmim_mm.deploy.measure import file_size, find_task, measure, processor, table
    from simmim_mm.experiments.tables import markdown_table

    if (args.data or args.maps) and not args.verify:
        raise ValueError('--data and --maps are for --verify')
    task = find_task(read_onnx(args.model), args.data, args.maps) if args.data else None
    images = quantize(
        args.model,
        args.out,
        method=args.method,
        images=args.images,
        num_images=args.num_images,
        overwrite=args.force,
    )
    for path, reason in images.unreadable.items() if images else ():
        print(f'warning: left out {path}: {reason}', file=sys.stderr)
    used = f' with {len(images.paths)} images' if images else ''
    print(f'wrote {args.out} ({file_size(Path(args.out)):.1f} MB), quantized{used}')
    if args.verify:
        rows = measure(Path(args.model), Path(args.out), images, task, args.threads)
        print(f'\n{markdown_table(table(rows, task.name if task else ""))}\n')
        print(f'on {processor()}; in parentheses, in parts of the first row')
