"""Commands that are ended at chosen moments and started again, and what they leave behind."""

import csv
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from tiny_pretraining import CONFIG, write_images

from simmim_mm import models  # noqa: F401  registers them
from simmim_mm.registry import MODELS

ROOT = Path(__file__).parents[2]
INJECT = Path(__file__).with_name('inject.py')
DEAD = (-9, 137, -25, 153)  # SIGKILL, SIGXFSZ; with and without a shell between

PRETRAINING = ('train', 'tiny.py', '--work-dir', 'work', '--resume')
SWEEP = """
base = 'tiny.py'
sweep = {'model.backbone.drop_path_rate': [0.0, 0.4]}
"""
COMPARE = (
    'compare', 'classification', 'labeled', '--checkpoints', 'a=start.pth', '--epochs', '2',
    '--seeds', '1', '--work-dir', 'compared', '--cfg-options', 'train_dataloader.num_workers=0',
    'train_dataloader.batch_size=4', 'val_dataloader.num_workers=0',
)  # fmt: skip
COMMANDS = {
    'train': PRETRAINING,
    'sweep': ('sweep', 'sweep.py', '--work-dir', 'swept'),
    'compare': COMPARE,
    'scan': ('scan', 'images', '--out', 'scanned', '--workers', '0'),
    'cache': ('cache', 'images', '--out', 'cached', '--short-side', '24', '--workers', '0'),
    'shard': ('shard', 'images', 'sharded', '--images', '3', '--workers', '0'),
    'embed': ('embed', 'start.pth', 'images', '--num-workers', '0', '--batch-size', '2'),
    'export': ('export', 'start.pth', '--to', 'timm', '--out', 'timm.safetensors'),
}


def make_project(folder: Path, images: int = 8) -> Path:
    """A folder with ``tiny.py``, the images that it trains on, and a checkpoint of its model."""
    write_images(folder / 'images', images)
    for name in ('train/a', 'train/b', 'val/a', 'val/b'):
        write_images(folder / 'labeled' / name, 2)
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


def run(python: str, folder: Path, *args: str, **fault: Any) -> End:
    """Run a verb to its end."""
    with tempfile.NamedTemporaryFile() as log:
        with start(python, folder, *args, log=log.name, **fault) as process:
            try:
                output, _ = process.communicate(timeout=300)
            except subprocess.TimeoutExpired:
                process.kill()
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
