"""What a plan depends on: the images, and the machine."""

import os
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from simmim_mm.curation.stats import FolderStats, folder_stats
from simmim_mm.processor import cpu_has_bfloat16

_FIRST, _MOST, _SECONDS = 8, 512, 6.0


class Machine(NamedTuple):
    """What computes.

    Attributes:
        gpu_memory: Bytes of the first GPU; 0 without one.
        cores: That this process may use.
        bfloat16: Whether mixed precision pays.
    """

    gpu_memory: int
    cores: int
    bfloat16: bool

    @classmethod
    def here(cls) -> 'Machine':
        """The machine that this process runs on."""
        cores = len(os.sched_getaffinity(0))
        if torch.cuda.is_available():
            return cls(torch.cuda.get_device_properties(0).total_memory, cores, True)
        return cls(0, cores, bool(cpu_has_bfloat16()))


class Facts(NamedTuple):
    """What the images are.

    Attributes:
        folder: Where they are.
        number: Of all images.
        side: Median of their shorter sides, in pixels.
        pixels: Median of height times width.
        channels: ``channels`` of ``LoadImage``: ``'rgb'``, ``'gray'`` or a number.
        dtype: The most frequent one, as stored.
        low, high: The lowest and highest value, as stored.
        mean, std: Of each channel, in the values that ``LoadImage`` gives.
        warnings: What is peculiar about them, a sentence each.
    """

    folder: str
    number: int
    side: int
    pixels: int
    channels: str | int
    dtype: str
    low: float
    high: float
    mean: list[float]
    std: list[float]
    warnings: list[str]


def look_at(folder: str | Path, channels: str | int | None = None, workers: int = 0) -> Facts:
    """Measure a folder, of many images some, for a few seconds.

    Args:
        folder: Searched with its subfolders.
        channels: See ``LoadImage``; None: what the files have.
        workers: Processes that read; 0 reads in this one.

    Raises:
        DataError: If the folder is missing or empty, no image can be read, or the images differ in
            their channels so that it must be said which are meant.
    """
    start = time.perf_counter()
    stats = folder_stats(folder, channels, max_images=_FIRST)
    pace = (time.perf_counter() - start) / _FIRST / max(1, workers)
    most = min(_MOST, int(_SECONDS / max(pace, 1e-6)), stats.num_files)
    if most >= 2 * _FIRST:
        stats = folder_stats(folder, channels, max_images=most, workers=workers)
    return _facts(str(folder), stats)


def _facts(folder: str, stats: FolderStats) -> Facts:
    warnings = []
    if stats.bad:
        read = len(stats.bad) + len(stats.sizes)
        warnings.append(
            f'{len(stats.bad)} of {read} images looked at cannot be read, such as '
            f'{stats.bad[0][1]}: they are left out'
        )
    if stats.suspected:
        value, images = stats.suspected.most_common(1)[0]
        warnings.append(
            f'{images} images hold {value:g}, far from their other values: if it stands for no '
            f'data, add --cfg-options load.nodata={value:g}'
        )
    return Facts(
        folder,
        stats.num_files,
        int(np.median(stats.sizes.min(1))),
        int(np.median(stats.sizes.prod(1))),
        stats.loader.channels,
        stats.types.most_common(1)[0][0],
        stats.low,
        stats.high,
        [float(x) for x in stats.mean],
        [max(float(x), 1e-6 * max(1.0, abs(stats.high))) for x in stats.std],
        warnings,
    )
