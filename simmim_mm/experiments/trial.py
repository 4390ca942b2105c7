"""One training to be run, and what its result depends on."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config

from simmim_mm._renamed import renamed_arguments, renamed_attributes
from simmim_mm.catalog import read_config_file

_BLOCK = 1 << 20  # bytes read at a time


@renamed_arguments(figure='metric')
@renamed_attributes(figure='metric')
@dataclass
class Trial:
    """A training and the metric that is wanted of it.

    Attributes:
        name: What is tried; trials of the same name differ by their seed.
        config: A config file, or a config.
        metric: Name of a validation's result, such as ``accuracy/top1`` or ``coco/bbox_mAP``.
        seed: Goes to ``randomness.seed``.
        overrides: Settings by dotted key, as after ``--cfg-options``.
        data: What else the result depends on; see :func:`fingerprint`.
        absent: Value of a validation that does not give the metric; None = the trial has failed.
            mmdet reports no AP, instead of 0, when nothing at all is detected.
    """

    name: str
    config: str | Path | Config
    metric: str
    seed: int = 0
    overrides: dict = field(default_factory=dict)
    data: str = ''
    absent: float | None = None

    def build_config(self) -> Config:
        """The config that is trained, with what is needed to find the metric afterwards."""
        source = self.config
        cfg = deepcopy(source) if isinstance(source, Config) else read_config_file(source)
        cfg.merge_from_dict(self.overrides)
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=self.seed)
        cfg.work_dir = None  # the trial's own folder
        if visualizer := cfg.get('visualizer'):
            backends = list(visualizer.get('vis_backends') or [])
            if not any(x.get('type') == 'LocalVisBackend' for x in backends):
                backends.append(dict(type='LocalVisBackend'))  # writes scalars.json
            visualizer.vis_backends = backends
            visualizer.pop('save_dir', None)
        return cfg

    def key(self, cfg: Config) -> str:
        """Twelve digits that change with the config, the seed, the metric or the data."""
        text = json.dumps(cfg.to_dict(), sort_keys=True, default=str)
        parts = '\0'.join([text, self.metric, self.data])
        return hashlib.sha256(parts.encode()).hexdigest()[:12]

    def folder_name(self, key: str) -> str:
        """Name of the folder of this trial: legible, and another one for another key."""
        slug = re.sub(r'[^\w.=-]+', '-', self.name).strip('-.') or 'trial'
        return f'{slug[:60]}_seed{self.seed}_{key[:8]}'


@dataclass
class Outcome:
    """What became of a trial.

    Attributes:
        value: The metric at the last validation; None if the trial failed.
        seconds: Wall-clock time of the training.
        scalars: All results of that validation, by name.
        error: Why it failed: the end of its log.
        cached: Whether an earlier call had finished it.
    """

    trial: Trial
    work_dir: Path
    value: float | None = None
    seconds: float = 0.0
    scalars: dict = field(default_factory=dict)
    error: str | None = None
    cached: bool = False


def fingerprint(paths: Iterable[str | Path]) -> str:
    """Digits that change when files do.

    Files are read; of folders, names, sizes and modification times of all files below count, so
    that a million images take seconds.

    Raises:
        FileNotFoundError: If a path does not exist.
    """
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f'{path}\0'.encode(errors='surrogateescape'))
        if os.path.isdir(path):
            for line in _listing(os.fspath(path)):
                digest.update(line.encode(errors='surrogateescape'))
        else:
            with open(path, 'rb') as file:
                while block := file.read(_BLOCK):
                    digest.update(block)
    return digest.hexdigest()


def _listing(folder: str, above: tuple = ()) -> Iterator[str]:
    status = os.stat(folder)
    if (this := (status.st_dev, status.st_ino)) in above:  # a link to a folder that it is in
        return
    with os.scandir(folder) as entries:
        entries = sorted(entries, key=lambda entry: entry.name)
    for entry in entries:
        if os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir():
            yield f'{entry.name}/\0'
            yield from _listing(entry.path, (*above, this))
        else:
            stat = entry.stat(follow_symlinks=os.path.exists(entry.path))
            yield f'{entry.name}\0{stat.st_size}\0{stat.st_mtime_ns}\0'
