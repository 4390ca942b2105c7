"""What the images of a folder are: sizes, types, and the statistics to normalize them by."""

from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from simmim_mm.curation.files import map_files
from simmim_mm.datasets.errors import DataError, UnreadableImage, first_few
from simmim_mm.datasets.image_folder import list_images, spread
from simmim_mm.datasets.transforms.loading import LoadImage
from simmim_mm.datasets.values import Nodata, Window, finite_values, suspect_nodata

_TRIED = 20  # files that say which channels there are
_MAX_PIXELS = 1_000_000  # of an image, evenly spread, of which mean and deviation are taken


class FolderStats(NamedTuple):
    """What was found.

    Attributes:
        loader: Loads the images as the statistics are meant.
        num_files: Of the folder.
        sizes: ``(n, 2)`` height and width of the images that were read.
        endings: Number of images of each file ending.
        types: Number of images of each dtype, as stored.
        channels: Number of images of each number of channels, as stored.
        low: Lowest value as stored, without no-data.
        high: Highest.
        mean: ``(C,)`` of the loaded images, without no-data; every image counts the same.
        std: ``(C,)`` of the same.
        nodata: Fraction of the pixels that are no-data.
        suspected: Values that seem to stand for no data, and the number of images.
        bad: Path and reason of each image that could not be read.
    """

    loader: LoadImage
    num_files: int
    sizes: np.ndarray
    endings: Counter
    types: Counter
    channels: Counter
    low: float
    high: float
    mean: np.ndarray
    std: np.ndarray
    nodata: float
    suspected: Counter
    bad: list[tuple[str, str]]


class _Image(NamedTuple):
    shape: tuple[int, ...] = ()
    dtype: str = ''
    low: float = 0.0
    high: float = 0.0
    mean: np.ndarray = np.zeros(0)
    square: np.ndarray = np.zeros(0)
    nodata: float = 0.0
    suspected: float | None = None
    error: str = ''


def folder_stats(
    root: str | Path,
    channels: str | int | None = None,
    window: Window | None = None,
    nodata: Nodata = None,
    max_images: int | None = None,
    workers: int = 0,
    tick: Callable[[int], None] | None = None,
) -> FolderStats:
    """Measure the images below a folder, as ``LoadImage`` loads them.

    Args:
        root: The folder, searched as :class:`ImageDataset` does.
        channels: See ``LoadImage``. None: the number that the files have; ``'rgb'`` or ``'gray'``
            where that is what 8-bit files are, or they differ.
        window: See ``LoadImage``.
        nodata: See ``LoadImage``.
        max_images: At most so many, spread over the folder.
        workers: Processes; 0 works in this one.
        tick: Called with the number of images after each of them.

    Raises:
        DataError: If the folder is missing, or none of its images can be read.
    """
    files = list_images(root)
    chosen = [files[i] for i in spread(len(files), max_images)]
    if channels is None:
        channels = _usual_channels(chosen[:: -(-len(chosen) // _TRIED)])
    loader = LoadImage(channels, window=window, nodata=nodata)
    # Of a million images, sums are kept, and of each its size alone.
    sizes, bad = array('i'), []
    endings, types, kinds, suspected = Counter(), Counter(), Counter(), Counter()
    low, high = np.inf, -np.inf
    mean, square, empty = np.zeros(()), np.zeros(()), 0.0
    for path, image in zip(chosen, map_files(partial(_measure, loader), chosen, workers)):
        if image.error:
            bad.append((path, image.error))
        else:
            height, width, number = image.shape
            sizes.extend((height, width))
            endings[Path(path).suffix.lower()] += 1
            types[image.dtype] += 1
            kinds[number] += 1
            if image.suspected is not None:
                suspected[image.suspected] += 1
            low, high = min(low, image.low), max(high, image.high)
            mean, square = mean + image.mean, square + image.square
            empty += image.nodata
        if tick is not None:
            tick(len(chosen))
    if not sizes:
        raise DataError(f'none of {len(chosen)} images can be read; the last: {bad[-1][1]}')
    count = len(sizes) // 2
    mean, square = mean / count, square / count
    return FolderStats(
        loader,
        len(files),
        np.array(sizes).reshape(-1, 2),
        endings,
        types,
        kinds,
        low,
        high,
        mean,
        np.sqrt(np.maximum(square - mean**2, 0)),
        empty / count,
        suspected,
        bad,
    )


def config_lines(stats: FolderStats) -> list[str]:
    """Lines for a child of a folder's recipe: the loader, and mean and standard deviation."""
    loader = stats.loader
    settings = dict(channels=loader.channels, window=loader.window, nodata=loader.nodata)
    given = {k: v for k, v in settings.items() if v is not None and (k, v) != ('channels', 'rgb')}
    arguments = ''.join(f', {key}={_literal(value)}' for key, value in given.items())
    mean, std = (', '.join(f'{x:.5g}' for x in values) for values in (stats.mean, stats.std))
    return [
        f'load = dict(_base_.load{arguments})',
        f'model = dict(data_preprocessor=dict(mean=[{mean}], std=[{std}]))',
        'pipeline = [load, _base_.crop, _base_.flip, _base_.mask, _base_.pack]',
        'train_dataloader = dict(dataset=dict(pipeline=pipeline))',
    ]


def _literal(value: object) -> str:
    return "'nan'" if value != value else repr(value)


def _usual_channels(files: Sequence[str]) -> str | int:
    """What to load where nothing was asked for."""
    loader, kinds, reason = LoadImage('unchanged'), {}, ''
    for path in files:
        try:
            array = loader.decode(path).array
            kinds.setdefault((array.shape[-1], array.dtype == np.uint8), path)
        except Exception as error:  # decoders raise everything; reported when it is measured
            reason = f'{path}: {error}'
    if not kinds:
        raise DataError(f'none of {len(files)} images tried can be read; the last: {reason}')
    counts, all_8_bit = {count for count, _ in kinds}, all(kind[1] for kind in kinds)
    if len(counts) == 1 and not (all_8_bit and counts <= {1, 3}):
        return counts.pop()
    if counts <= {1, 3, 4}:
        return 'gray' if counts == {1} else 'rgb'
    found = [f'{count} in {path}' for (count, _), path in sorted(kinds.items())]
    raise DataError(
        f'the images differ in their channels: {first_few(found)}. Say with --channels how many '
        'those have that are meant; the others will be left out'
    )


def _measure(loader: LoadImage, path: str) -> _Image:
    try:
        decoded = loader.decode(path)
        image, nodata = loader.convert(decoded)
    except Exception as error:  # decoders raise everything
        return _Image(error=str(UnreadableImage(path, str(error))))
    stored, pixels = decoded.array, image.reshape(-1, image.shape[-1])
    if nodata is not None:
        stored, pixels = stored[~nodata], pixels[~nodata.ravel()]
    pixels = pixels[:: -(-len(pixels) // _MAX_PIXELS)].astype(np.float64)
    finite = finite_values(stored)
    return _Image(
        decoded.array.shape,
        str(decoded.array.dtype),
        float(finite.min()),
        float(finite.max()),
        pixels.mean(0),
        (pixels**2).mean(0),
        0.0 if nodata is None else float(nodata.mean()),
        suspect_nodata(decoded.array) if nodata is None else None,
    )
