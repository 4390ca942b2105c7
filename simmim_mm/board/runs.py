"""The trainings below some folders, a row each."""

import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mmengine.config import Config

from simmim_mm.checkpoint import plain_dict
from simmim_mm.datasets.errors import DataError
from simmim_mm.datasets.image_dataset import single_datasets
from simmim_mm.engine.run_lock import BEAT, LOCK_FILE
from simmim_mm.experiments.run_report import Curve, read_curves, run_config
from simmim_mm.experiments.scalars import checkpoint_files, seconds_taken, start_folders

HELD_OUT = 'masked_loss/loss'
# Columns of the table, and the curve whose last value each number is.
NUMBERS = {
    'loss': 'loss',
    'held-out loss': HELD_OUT,
    'kNN %': 'knn/accuracy',
    'linear %': 'linear/accuracy',
    'rank': 'rankme',
}
COLUMNS = ('run', 'status', 'done', *NUMBERS, 'method', 'backbone', 'last sign of life', 'data')


@dataclass(frozen=True)
class Run:
    """A training, finished or not.

    Attributes:
        name: Its folder, below those that were given.
        work_dir: That folder.
        config: Of its last start; None where it cannot be read.
        curves: Every number that it has logged.
    """

    name: str
    work_dir: Path
    config: Config | None
    curves: dict[str, Curve]

    @property
    def checkpoint(self) -> Path | None:
        """The last one that was written at an interval."""
        return next(iter(checkpoint_files(self.work_dir)[::-1]), None)

    @property
    def status(self) -> str:
        """``running``; ``ended`` as planned; ``stopped`` before, on request or by an error; or
        ``killed``, which leaves the file behind by which a run holds its folder.

        A run of a version without that file is ``running`` if it has written something within a
        minute.
        """
        lock = self.work_dir / LOCK_FILE
        if lock.exists():
            return 'running' if time.time() - lock.stat().st_mtime < 4 * BEAT else 'killed'
        if self._is_complete:
            return 'ended'
        return 'running' if time.time() - self.seen < 60 else 'stopped'

    @property
    def seen(self) -> float:
        """When it last wrote something, in seconds since 1970."""
        files = [self.work_dir / LOCK_FILE, *start_folders(self.work_dir)[-1].rglob('*')]
        return max(file.stat().st_mtime for file in files if file.exists())

    @property
    def done(self) -> str:
        """Epochs or iterations, of how many."""
        unit, last, planned = self._length
        return f'{last:g} of {planned} {unit}' if planned else f'{last:g} {unit}'

    @property
    def _length(self) -> tuple[str, float, int | None]:
        train = _part(self.config, 'train_cfg')
        by_epoch = 'max_epochs' in train
        name, unit = ('epoch', 'epochs') if by_epoch else ('iter', 'iterations')
        curve = self.curves.get(name)
        planned = train.get('max_epochs' if by_epoch else 'max_iters')
        known = isinstance(planned, int) and not train.get('seconds')  # a time is its length
        return unit, curve.values[-1] if curve else 0, planned if known else None

    @property
    def _is_complete(self) -> bool:
        *_, planned = self._length
        if self.checkpoint is None:
            return False
        if seconds := _part(self.config, 'train_cfg').get('seconds'):  # it ends within 3% of them
            return seconds_taken(self.work_dir) > 0.9 * seconds
        if planned is None:
            return False
        return int(self.checkpoint.stem.rpartition('_')[2]) >= planned

    def row(self) -> list:
        """Its cells of the table, by :data:`COLUMNS`; None where there is no number."""
        model = _part(self.config, 'model')
        seen = datetime.fromtimestamp(self.seen)
        return [
            self.name,
            self.status,
            self.done,
            *(_last(self.curves.get(name)) for name in NUMBERS.values()),
            method_name(model),
            _backbone_name(model),
            f'{seen:%Y-%m-%d %H:%M:%S}',
            _data_name(self.config),
        ]


def find_runs(roots: Sequence[str | Path]) -> dict[str, Run]:
    """The trainings in some folders and below, by name; links to folders are not followed.

    Raises:
        DataError: If one of the folders does not exist.
    """
    folders: dict[str, Path] = {}
    for root in map(Path, roots):
        if not root.is_dir():
            raise DataError(f'no folder {root}')
        for folder in _work_dirs(root.resolve()):
            name = folder.relative_to(root.resolve().parent).as_posix()
            folders[name if name not in folders else str(folder)] = folder
    runs = {}
    for name, folder in sorted(folders.items()):
        config = run_config(start_folders(folder))
        runs[name] = Run(name, folder, config, read_curves(folder))
    return runs


def method_name(model: Any) -> str:
    """What a model is called: a pretraining by its method, anything else by its class."""
    kind = str(model.get('type', '')).rpartition('.')[2]
    if kind != 'MaskedImageModel':
        return kind
    target = model.get('target') or []
    targets = [target] if isinstance(target, dict) else target
    mae = plain_dict(model.get('backbone')).get('mask_mode') == 'gather'
    base = 'MAE' if mae else 'SimMIM'
    pixmim = any('LowFreq' in str(plain_dict(part).get('type')) for part in targets)
    return f'PixMIM on {base}' if pixmim else base


def _work_dirs(root: Path) -> Iterator[Path]:
    for folder, below, _ in os.walk(root):
        starts = [name for name in below if re.fullmatch(r'\d{8}_\d{6}', name)]
        if any((Path(folder) / name / 'vis_data').is_dir() for name in starts):
            yield Path(folder)
        others = (*starts, 'vis_data', 'mlartifacts', 'mlruns', 'wandb')  # trackers keep copies
        below[:] = [n for n in below if n not in others and not n.startswith('.')]


def _backbone_name(model: Any) -> str:
    backbone = plain_dict(model.get('backbone'))
    arch = backbone.get('arch', backbone.get('depth', ''))
    if isinstance(arch, dict):  # sizes, without a name
        arch = f'width {arch["embed_dims"]}' if 'embed_dims' in arch else ''
    return f'{str(backbone.get("type", "")).rpartition(".")[2]} {arch}'.strip()


def _data_name(config: Config | None) -> str:
    data = _part(config, 'train_dataloader').get('dataset')
    parts = single_datasets(data) if data else ()
    roots = [plain_dict(part).get('data_root') for _, part in parts]
    return ', '.join(str(root) for root in roots if root)


def _part(config: Config | None, name: str) -> dict:
    """A part of a config, which may be missing or damaged."""
    return plain_dict((config or {}).get(name))


def _last(curve: Curve | None) -> float | None:
    return None if curve is None else float(f'{curve.values[-1]:.4g}')
