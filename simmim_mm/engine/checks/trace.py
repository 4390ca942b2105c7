"""A few images on their way through a pipeline."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from mmengine import fileio
from torch import Tensor

from simmim_mm.datasets.decode import DecodedImage, decode
from simmim_mm.datasets.errors import DataError, UnreadableImage, reason_of
from simmim_mm.datasets.image_dataset import pipeline_steps, single_datasets
from simmim_mm.datasets.image_folder import spread
from simmim_mm.datasets.seeding import sample_seed, seeded_rng
from simmim_mm.datasets.skipping import loads_files
from simmim_mm.datasets.transforms.loading import LoadImage

_SAMPLES, _MAX_TRIED = 4, 20


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


def trace_images(dataset: Any, place: str = 'dataset') -> tuple[list[dict], list[Trace]]:
    """Send a few images of each data set, spread over it, through its pipeline.

    Args:
        dataset: A data set of images, labeled or not, or a wrapper around some. Others are left
            out.
        place: Where it stands in the config, such as ``'train_dataloader.dataset'``.

    Returns:
        What the pipelines give, and what became of those images that they give as a tensor.

    Raises:
        DataError: If no image of a data set can be read, or a step of a pipeline fails.
    """
    samples, traces = [], []
    for _, part in single_datasets(dataset):
        steps = pipeline_steps(part)
        if steps and hasattr(part, 'get_data_info'):
            for sample, trace in _trace_some(part, steps, place):
                samples.append(sample)
                traces += [trace] if trace else []
    return samples, traces


def _trace_some(dataset: Any, steps: Sequence[Any], place: str) -> list[tuple[dict, Trace | None]]:
    found = []
    reason = 'the pipeline returned None'
    count = len(dataset)
    indices = list(dict.fromkeys(spread(count, _SAMPLES) + spread(count, _MAX_TRIED)))
    for index in indices:
        try:
            with seeded_rng(sample_seed(0, 0, index)):
                traced = _trace(dataset.get_data_info(index), steps, place)
        except UnreadableImage as error:
            reason = f'the last: {error}'
            continue
        if traced:
            found.append(traced)
        if len(found) == _SAMPLES:
            return found
    if not found:
        raise DataError(f'{place}: none of {len(indices)} images tried gives a sample; {reason}')
    return found


def _trace(results: Any, steps: Sequence[Any], place: str) -> tuple[dict, Trace | None] | None:
    path, shrinkage = results.get('img_path'), 1.0
    for number, step in enumerate(steps, 1):
        before = results['img'].shape if 'img' in results else None
        try:
            results = step(results)
        except UnreadableImage:
            raise
        except Exception as error:
            if loads_files(step):
                raise UnreadableImage(str(path), reason_of(error, str(path))) from error
            raise DataError(
                f'{place}: step {number} of the pipeline, {step!r}, fails on {path}: '
                f'{error} ({type(error).__name__})'
            ) from error
        if results is None:
            return None
        if before is not None and 'img' in results:
            shrinkage *= _shrinkage(step, before, results['img'].shape)
    inputs = results.get('inputs')
    if not isinstance(path, str) or not isinstance(inputs, Tensor):
        return results, None
    loader = next((step for step in steps if isinstance(step, LoadImage)), None)
    try:
        stored = loader.decode(path) if loader else decode(fileio.get(path), (inputs.shape[0],))
    except Exception:  # the loader of another package reads what this one's does not
        return results, None
    size = (inputs.shape[1], inputs.shape[2])
    return results, Trace(path, loader, stored, shrinkage, size, inputs, results)


def _shrinkage(step: Any, before: tuple[int, ...], after: tuple[int, ...]) -> float:
    name = type(step).__name__
    ratio = (before[0] * before[1]) / (after[0] * after[1])
    if 'ResizedCrop' in name and hasattr(step, 'crop_ratio_range'):
        return (ratio * sum(step.crop_ratio_range) / 2) ** 0.5
    if name == 'SimpleResizedCrop':
        return min(before[0] / after[0], before[1] / after[1])
    return ratio**0.5 if 'Resize' in name else 1.0
