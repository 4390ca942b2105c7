#!/usr/bin/env python
"""Every backbone as ONNX and in 8-bit integers: agreement with PyTorch, size, latency, features.

python benchmarks/deploy.py FOLDER [--models swin-t resnet-50] [--threads 1]

FOLDER has images, to calibrate with and to compare features on. The weights are initial ones, as
sizes and latencies do not depend on them. Contenders take turns in one process. Prints markdown.
"""

import argparse
import sys
import tempfile
from pathlib import Path

try:
    import simmim_mm  # noqa: F401  it checks the stack, before anything else is imported
except ImportError as error:
    sys.exit(f'error: {error}')

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from simmim_mm.deploy import DeployError, export_onnx
from simmim_mm.deploy.int8 import METHODS, calibration_images, quantize, read_onnx
from simmim_mm.deploy.measure import file_size, measure, processor, table
from simmim_mm.experiments.tables import markdown_table
from simmim_mm.registry import MODELS

SMALL = dict(embed_dims=384, num_layers=12, num_heads=6, feedforward_channels=1536)
# Backbone, and the size of its images.
MODELS_TO_RUN: dict[str, tuple[dict, int]] = {
    'swin-t': (dict(type='MaskedSwin', arch='tiny', img_size=224), 224),
    'swinv2-t': (dict(type='MaskedSwinV2', arch='tiny', img_size=256), 256),
    'vit-s': (dict(type='MaskedViT', arch=SMALL, img_size=224, patch_size=16), 224),
    'windowed-vit-s': (dict(type='WindowedViT', arch=SMALL, img_size=448, patch_size=16), 448),
    'beit-s': (dict(type='MaskedBEiT', arch=SMALL, img_size=224, patch_size=16), 224),
    'convmae-s': (dict(type='MaskedConvViT', arch='small', img_size=224), 224),
    'resnet-50': (dict(type='MaskedResNet', depth=50), 224),
    'convnext-t': (dict(type='MaskedConvNeXt', arch='tiny'), 224),
    'poolformer-s12': (
        dict(type='MaskedBackbone', backbone=dict(type='mmpretrain.PoolFormer', arch='s12')),
        224,
    ),
}
STATISTICS = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])


def checkpoint(folder: Path, name: str) -> Path:
    """A file as a pretraining writes it at its start."""
    backbone, _ = MODELS_TO_RUN[name]
    torch.manual_seed(0)
    init_default_scope('simmim_mm')
    model = MODELS.build(dict(backbone))
    model.init_weights()
    preprocessor = dict(type='MIMDataPreprocessor', **STATISTICS)
    config = Config(
        dict(model=dict(type='MaskedImageModel', backbone=backbone, data_preprocessor=preprocessor))
    )
    state = {f'backbone.{key}': value for key, value in model.state_dict().items()}
    torch.save(dict(meta=dict(cfg=config.pretty_text), state_dict=state), folder / f'{name}.pth')
    return folder / f'{name}.pth'


def export(name: str, folder: Path) -> Path:
    """The ONNX file of a backbone, compared with PyTorch; one that is there stays."""
    original, size = folder / f'{name}.onnx', MODELS_TO_RUN[name][1]
    if original.is_file():
        return original
    report = export_onnx(checkpoint(folder, name), original, img_size=size, verify=True)
    try:
        free = folder / f'{name}-any.onnx'
        export_onnx(folder / f'{name}.pth', free, img_size=size, any_size=True, overwrite=True)
        any_size = 'yes'
    except DeployError:
        any_size = 'refused'
    agreement = ', '.join(f'{a.runtime} {a.difference:.1e}' for a in report.agreements)
    print(f'{name}: {file_size(original):.1f} MB, {agreement}, any size: {any_size}', flush=True)
    return original


def run(name: str, folder: Path, args: argparse.Namespace) -> list[dict]:
    """Rows of the table for a backbone."""
    original, rows = export(name, folder), []
    images = calibration_images(read_onnx(original), args.folder, args.num_images)
    for method in args.methods:
        out = folder / f'{name}-{method}{".xml" if method == "openvino" else ".onnx"}'
        try:
            if not out.is_file():
                quantize(
                    original, out, method=method, images=args.folder, num_images=args.num_images
                )
        except DeployError as error:
            rows.append({'model': name, 'file': f'int8 {method}', 'MB': f'refused: {error}'})
            continue
        if args.prepare:
            continue
        measured = measure(original, out, images, threads=args.threads)
        rows += [{'model': name} | row for row in table(measured)[bool(rows) :]]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', help='of images')
    parser.add_argument('--models', nargs='+', choices=MODELS_TO_RUN, default=[*MODELS_TO_RUN])
    parser.add_argument('--methods', nargs='*', choices=METHODS, default=[*METHODS])
    parser.add_argument('--num-images', type=int, default=64)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--work-dir', help='keep the files here, and use those that are there')
    parser.add_argument('--prepare', action='store_true', help='write the files, measure nothing')
    args = parser.parse_args()
    MMLogger.get_current_instance().setLevel('ERROR')  # init_weights lists every parameter
    print(f'{processor()}, {args.threads} threads\n')
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(args.work_dir or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        rows = [row for name in args.models for row in run(name, folder, args)]
        if rows:
            print(markdown_table(rows))


if __name__ == '__main__':
    main()
