"""What a training has written into mmengine's ``scalars.json``."""

import json
import math
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from simmim_mm.experiments.trial import Trial

_STAMP = '%Y%m%d_%H%M%S'  # names of the folders that mmengine makes, one for each start
_NOT_RESULTS = ('step', 'time', 'data_time', 'iter', 'epoch')


@dataclass
class Progress:
    """How far a training has come.

    Attributes:
        fraction: Of the iterations that are done, in 0..1.
        value: The metric at the latest validation; None before the first.
        scalars: Every number of that validation.
        validated: Whether the latest start of the training has given the metric.
        unscored: Whether it was -1, which pycocotools gives where there is nothing to score.
    """

    fraction: float = 0.0
    value: float | None = None
    scalars: dict = field(default_factory=dict)
    validated: bool = False
    unscored: bool = False


def start_folders(work_dir: str | Path) -> list[Path]:
    """The folders of a training, one for each time it was started or resumed, oldest first."""
    found = (p for p in Path(work_dir).glob('*_*') if re.fullmatch(r'\d{8}_\d{6}', p.name))
    return sorted(p for p in found if p.is_dir())


def checkpoint_files(work_dir: Path) -> list[Path]:
    """The checkpoints that a training has written at intervals, oldest first."""
    found = (
        (re.fullmatch(r'(?:epoch|iter)_(\d+)\.pth', p.name), p) for p in work_dir.glob('*.pth')
    )
    return [path for _, path in sorted((int(name[1]), path) for name, path in found if name)]


def read_scalars(folder: Path) -> list[dict]:
    """Lines of ``vis_data/scalars.json``; one that is being written is left out."""
    path = folder / 'vis_data' / 'scalars.json'
    lines = []
    for line in path.read_text(errors='replace').splitlines() if path.is_file() else ():
        with suppress(ValueError, RecursionError):
            lines.append(json.loads(line))
    return [line for line in lines if isinstance(line, dict)]


def read_progress(work_dir: str | Path, trial: Trial, train_cfg: dict) -> Progress:
    """How far the training in ``work_dir`` is; ``trial`` tells which of the results is wanted."""
    progress = Progress()
    for folder in start_folders(work_dir):
        progress.validated = False
        for line in read_scalars(folder):
            value = line.get(trial.metric, line.get(f'val/{trial.metric}'))
            if value is None and 'data_time' in line and 'iter' not in line:  # a validation's
                value = trial.absent
            if isinstance(value, (int, float)):
                progress.unscored = is_unscored(trial.metric, value)
                sound = math.isfinite(value) and not progress.unscored  # NaN is no result
                progress.value = float(value) if sound else None
                progress.validated = math.isfinite(value)
                progress.scalars = {
                    k.removeprefix('val/'): v
                    for k, v in line.items()
                    if isinstance(v, (int, float)) and k.split('/')[-1] not in _NOT_RESULTS
                }
            if (fraction := _fraction(line, train_cfg)) is not None:
                progress.fraction = min(fraction, 1.0)
    if train_cfg.get('seconds'):  # iterations do not tell
        progress.fraction = min(seconds_taken(work_dir) / train_cfg['seconds'], 1.0)
    return progress


def is_unscored(metric: str, value: float | None) -> bool:
    """Whether it is pycocotools' sign that there was no object to score."""
    return value == -1 and metric.startswith('coco/')


def _fraction(line: dict, train_cfg: dict) -> float | None:
    if train_cfg.get('max_iters'):
        return line['iter'] / train_cfg['max_iters'] if 'iter' in line else None
    if train_cfg.get('max_epochs') and 'epoch' in line:
        return (line['epoch'] - 1) / train_cfg['max_epochs']  # within an epoch it is not known
    return None


def seconds_taken(work_dir: str | Path) -> float:
    """Wall-clock seconds of a training from building it to its end, over all its starts."""
    total = 0.0
    for folder in start_folders(work_dir):
        written = [p.stat().st_mtime for p in folder.rglob('*') if p.is_file()]
        if written:
            start = time.mktime(time.strptime(folder.name, _STAMP))
            total += max(0.0, max(written) - start)
    return total


def known_metrics(work_dir: str | Path) -> list[str]:
    """Names of all numbers that a training has written, to be named in an error."""
    lines = (line for folder in start_folders(work_dir) for line in read_scalars(folder))
    return sorted({key for line in lines for key in line})
