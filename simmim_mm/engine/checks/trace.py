"""A few images on their way through a pipeline."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from mmengine import fileio
from torch import Tensor

from simmim_mm.datasets.decode import DecodedImage, decode
from simmim_mm.datasets.image_dataset import single_datasets
from simmim_mm.datasets.image_folder import spread
from simmim_mm.datasets.seeding import sample_seed, seeded_rng
from simmim_mm.datasets.transforms.loading import LoadImage

_SAMPLES = 4


class Trace(NamedTuple):
    """What became of an image.

    Attributes:
        path: Of the file.
        loader: What loaded it, if it is the one of this package.
        stored: The file, decoded.
        shrinkage: Pixels of the file, along a side, for one of the model's.
        size: Height and width that the model sees.
        inputs: ``(C, H, W)``, before normalization.
        sample: All that the pipeline gave.
    """

    path: str
    loader: LoadImage | None
    stored: DecodedImage
    shrinkage: float
    size: tuple[int, int]
    inputs: Tensor
    sample: dict


def trace_images(dataset: Any) -> Iterator[Trace]:
    """Send a few images of each data set, spread over it, through its pipeline.

    Images that cannot be read, or on which a step fails, are left out: other checks report them.
    """
    for _, part in single_datasets(dataset):
        steps = getattr(getattr(part, 'pipeline', None), 'transforms', None)
        if not steps or not hasattr(part, 'get_data_info'):
            continue
        for index in spread(len(part), _SAMPLES):
            with seeded_rng(sample_seed(0, 0, index)):
                try:
                    trace = _trace(part.get_data_info(index), steps)
                except Exception:
                    continue
            if trace is not None:
                yield trace


def _trace(results: Any, steps: list) -> Trace | None:
    path, shrinkage = results.get('img_path'), 1.0
    for step in steps:
        before = results['img'].shape if 'img' in results else None
        results = step(results)
        if results is None:
            return None
        if before is not None and 'img' in results:
            shrinkage *= _shrinkage(step, before, results['img'].shape)
    inputs = results.get('inputs')
    if not isinstance(path, str) or not isinstance(inputs, Tensor):
        return None
    loader = next((step for step in steps if isinstance(step, LoadImage)), None)
    stored = loader.decode(path) if loader else decode(fileio.get(path), (inputs.shape[0],))
    size = (inputs.shape[1], inputs.shape[2])
    return Trace(path, loader, stored, shrinkage, size, inputs, results)


def _shrinkage(step: Any, before: tuple[int, ...], after: tuple[int, ...]) -> float:
    name = type(step).__name__
    ratio = (before[0] * before[1]) / (after[0] * after[1])
    if 'ResizedCrop' in name and hasattr(step, 'crop_ratio_range'):
        return (ratio * sum(step.crop_ratio_range) / 2) ** 0.5
    if name == 'SimpleResizedCrop':
        return min(before[0] / after[0], before[1] / after[1])
    return ratio**0.5 if 'Resize' in name else 1.0
