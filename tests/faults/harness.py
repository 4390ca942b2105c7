"""Commands that are ended at chosen moments and started again, and what they leave behind."""

import csv
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from PIL import Image

from simmim_mm import models  # noqa: F401  registers them
from simmim_mm.registry import MODELS

ROOT = Path(__file__).parents[2]
INJECT = Path(__file__).with_name('inject.py')
DEAD = (-9, 137, -25, 153)  # SIGKILL, SIGXFSZ; with and without a shell between

CONFIG = f"""
_base_ = '{ROOT}/configs/_base_/default_runtime.py'

pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizedCrop', scale=32, crop_ratio_range=(0.5, 1.0)),
    dict(type='RandomBlockMask', mask_patch_size=16, mask_ratio=0.5),
    dict(type='mmpretrain.PackInputs', algorithm_keys=['mask']),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type='ReproducibleSampler', shuffle=True),
    dataset=dict(type='ImageDataset', data_root='images', pipeline=pipeline),
)
val_dataloader = dict(dataset=dict(data_root='images', indices=5))
model = dict(
    type='MaskedImageModel',
    data_preprocessor=dict(
        type='MIMDataPreprocessor', mean=[123.7, 116.3, 103.5], std=[58.4, 57.1, 57.4]
    ),
    backbone=dict(
        type='MaskedViT',
        arch=dict(embed_dims=16, num_layers=1, num_heads=2, feedforward_channels=32),
        img_size=32,
        patch_size=8,
        drop_path_rate=0.4,
    ),
    neck=dict(type='PixelShuffleDecoder'),
    head=dict(type='PixelHead'),
)
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05))
param_scheduler = dict(type='CosineAnnealingLR', T_max=4, convert_to_iter_based=True)
train_cfg = dict(type='EpochTrainLoop', max_epochs=4)
default_hooks = dict(
    logger=dict(interval=1),
    checkpoint=dict(interval=1, max_keep_ckpts=2, save_best='masked_loss/loss', rule='less'),
)
visualizer = dict(vis_backends=[dict(type='LocalVisBackend')])
"""
PRETRAINING = ('train', 'tiny.py', '--work-dir', 'work', '--resume')
SWEEP = """
base = 'tiny.py'
sweep = {'model.backbone.drop_path_rate': [0.0, 0.4]}
"""
COMMANDS = {
    'train': PRETRAINING,
    'sweep': ('sweep', 'sweep.py', '--work-dir', 'swept'),
    'scan': ('scan', 'images', '--out', 'scanned', '--workers', '0'),
    'cache': ('cache', 'images', '--out', 'cached', '--short-side', '24', '--workers', '0'),
    'shard': ('shard', 'images', 'sharded', '--images', '3', '--workers', '0'),
    'embed': ('embed', 'start.pth', 'images', '--num-workers', '0'),
    'export': ('export', 'start.pth', '--to', 'timm', '--out', 'timm.safetensors'),
}


def make_project(folder: Path, images: int = 8) -> Path:
    """A folder with ``tiny.py``, the images that it trains on, and a checkpoint of its model."""
    rng = np.random.default_rng(0)
    (folder / 'images').mkdir(parents=True)
    for i in range(images):
        pixels = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        image = Image.fromarray(pixels).resize((48, 40), Image.Resampling.BICUBIC)
        path = folder / 'images' / f'{i:02}.png'
        image.save(path)
        os.utime(path, (1e9, 1e9))  # the folders of trials are named after the data
    (folder / 'tiny.py').write_text(CONFIG)
    (folder / 'sweep.py').write_text(SWEEP)
    cfg = Config.fromfile(folder / 'tiny.py')
    torch.manual_seed(0)
    weights = MODELS.build(cfg.model).state_dict()
    torch.save(dict(meta=dict(cfg=cfg.pretty_text), state_dict=weights), folder / 'start.pth')
    return folder


class End(NamedTuple):
    """How a command ended: its exit code, what it printed, and the events that it came to."""

    code: int
    output: str
    events: list[str]


def start(
    python: str, folder: Path, *args: str, log: str = os.devnull, environment: dict = {},
    **fault: Any,
) -> subprocess.Popen:  # fmt: skip
    """Start a verb in ``folder`` with a fault, as ``inject.py`` describes them."""
    env = dict(
        os.environ, PYTHONPATH=f'{ROOT}:{folder}', OMP_NUM_THREADS='1', FAULT_LOG=log,
        FAULT=json.dumps(fault), **environment,
    )  # fmt: skip
    return subprocess.Popen(
        [python, str(INJECT), *args], cwd=folder, env=env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def run(
    python: str, folder: Path, *args: str, kill_after: float | None = None, **fault: Any
) -> End:
    """Run a verb to its end; or kill it from outside, ``kill_after`` seconds."""
    with tempfile.NamedTemporaryFile() as log:
        process = start(python, folder, *args, log=log.name, **fault)
        try:
            output, _ = process.communicate(timeout=kill_after or 300)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            if kill_after is None:
                raise
        return End(process.returncode, output, Path(log.name).read_text().splitlines())


def files(folder: Path) -> list[str]:
    """Every file below a folder, hidden ones included, without the dated logs of each start."""
    found = (str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file())
    return sorted(name for name in found if not re.search(r'\d{8}_\d{6}', name))


def differences(expected: Path, found: Path) -> list[str]:
    """What differs between two checkpoints: weights and the optimizer's state, to the last bit."""
    ours, theirs = (torch.load(path, weights_only=False) for path in (expected, found))
    tensors = [
        dict(checkpoint['state_dict'], **_flat(checkpoint.get('optimizer'), 'optimizer'))
        for checkpoint in (ours, theirs)
    ]
    names = set(tensors[0]) ^ set(tensors[1])
    return sorted(names) + [
        name
        for name in set(tensors[0]) & set(tensors[1])
        if not torch.equal(tensors[0][name], tensors[1][name])
    ]


def _flat(value: Any, name: str) -> dict[str, torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return {name: value}
    if isinstance(value, (int, float)):
        return {name: torch.tensor(float(value), dtype=torch.float64)}
    items = value.items() if isinstance(value, dict) else enumerate(value or ())
    items = () if isinstance(value, str) else items
    return {k: v for key, inner in items for k, v in _flat(inner, f'{name}.{key}').items()}


def same(expected: Path, found: Path) -> list[str]:
    """What differs in the files of two folders: of checkpoints tensors, of tables all but times."""
    names = [set(files(folder)) for folder in (expected, found)]
    problems = sorted(names[0] ^ names[1])
    for name in names[0] & names[1]:
        contents = [(folder / name).read_bytes() for folder in (expected, found)]
        if name.endswith('.pth'):
            problems += [f'{name}: {x}' for x in differences(expected / name, found / name)]
        elif name.endswith('.csv'):
            contents = [_rows(folder / name) for folder in (expected, found)]
        exact = (
            '.npy',
            '.csv',
            '.jpg',
            '.safetensors',
            '.tar',
            '.tsv',
            'kept.txt',
            'cached/00.png',
        )
        if name.endswith(exact):
            problems += [name] if contents[0] != contents[1] else []
    return problems


def _rows(path: Path) -> list[dict]:
    """Rows of a table without how long things took."""
    with path.open(newline='') as file:
        rows = list(csv.DictReader(file))
    times = ('minutes', 'seconds', 'time', 'data_time')
    return [{k: v for k, v in row.items() if k not in times} for row in rows]
