"""Prune backbones with initial weights to half of their operations, and time both.

    python benchmarks/pruning.py --threads 1

In PyTorch, and exported in onnxruntime, which fuses normalizations into the layers before them.

The weights make no difference to the time: pruned by their norms, blocks keep about equal parts.
Gains of norms and layer scales are random, as some start at 0, where nothing of a block would show.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from mmengine.registry import init_default_scope

from simmim_mm.catalog import load_config
from simmim_mm.compression import prune_checkpoint
from simmim_mm.compression.bench_model import Variant, bench_models
from simmim_mm.deploy import export_onnx
from simmim_mm.deploy.measure import processor
from simmim_mm.experiments.tables import markdown_table
from simmim_mm.registry import MODELS

BACKBONES = {
    'Swin-T': dict(type='MaskedSwin', arch='tiny', img_size=224),
    'ViT-S': dict(type='MaskedViT', arch='deit-small', img_size=224),
    "ViT-S, SimMIM's": dict(type='MaskedBEiT', arch='deit-small', img_size=224),
    'ResNet-50': dict(type='MaskedResNet', depth=50),
    'ConvNeXt-T': dict(type='MaskedConvNeXt', arch='tiny'),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('names', nargs='*', default=list(BACKBONES))
    parser.add_argument('--operations', type=float, default=0.5)
    parser.add_argument('--runs', type=int, default=15)
    parser.add_argument('--threads', type=int, default=0)
    args = parser.parse_args()
    init_default_scope('simmim_mm')
    table = []
    for name in args.names:
        cfg = load_config('simmim_swin-tiny-w6_1xb64-amp-coslr-100e_folder-192px')
        cfg.model.backbone = BACKBONES[name]
        cfg.train_dataloader.dataset.pipeline[1].scale = 224
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
        model.init_weights()
        with torch.no_grad():
            for key, tensor in model.backbone.named_parameters():
                if tensor.ndim == 1 and key.rpartition('.')[2] in ('weight', 'gamma'):
                    tensor.uniform_(0.1, 0.5)
        with tempfile.TemporaryDirectory() as folder:
            dense, pruned = Path(folder) / 'dense.pth', Path(folder) / 'pruned.pth'
            state = dict(meta=dict(cfg=cfg.pretty_text), state_dict=model.state_dict())
            torch.save(state, dense)
            report = prune_checkpoint(dense, pruned, operations=args.operations)
            files = [dense, pruned]
            for file in (dense, pruned):
                files.append(file.with_suffix('.onnx'))
                export_onnx(file, files[-1], img_size=224)
            variants = [Variant(file.name, str(file)) for file in files]
            rows = bench_models(variants, runs=args.runs, threads=args.threads, memory=False)
        row: dict = dict(backbone=name)

        def put(key: str, column: str, before: dict, after: dict, row: dict = row) -> None:
            was, now = before[key], after[key]
            row[column] = f'{was:.3g} to {now:.3g} ({was / now:.2f})'

        for key in ('G operations', 'M parameters'):
            put(key, key, *rows[:2])
        for runtime, pair in (('PyTorch', rows[:2]), ('onnxruntime', rows[2:])):
            for batch in (1, 8):
                put(f'ms, batch {batch}', f'{runtime}, ms, batch {batch}', *pair)
        row['difference'] = f'{report.difference:.1e}'
        print(row, flush=True)
        table.append(row)
    print(f'\n{markdown_table(table)}\n\n{processor()}, {torch.get_num_threads()} threads')


if __name__ == '__main__':
    main()
