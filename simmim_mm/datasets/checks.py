"""Load a few samples before training, so that what is wrong with the data shows at once."""

from typing import Any

import numpy as np

from simmim_mm.datasets.errors import DataError, UnreadableImage
from simmim_mm.datasets.image_dataset import ImageDataset, image_datasets
from simmim_mm.datasets.seeding import sample_seed, seeded_rng

_MAX_TRIED = 20
_SAMPLES = 4


def check_dataset(dataset: Any, name: str = 'dataset') -> dict:
    """Send a few images, spread over the dataset, through the pipeline in this process.

    Args:
        dataset: An :class:`ImageDataset` or a wrapper around some. Other datasets are asked for
            their first sample.
        name: Where the dataset stands in the config, such as ``'train_dataloader.dataset'``; the
            messages begin with it.

    Returns:
        The first sample.

    Raises:
        DataError: If no image can be read, a step of the pipeline fails, the pipeline does not end
            in packed inputs, or the images come out in different shapes.
    """
    parts = list(image_datasets(dataset))
    if not parts:
        return dataset[0]
    samples = [sample for part in parts for sample in _load_samples(part, name)]
    shapes = {tuple(sample['inputs'].shape) for sample in samples}
    if len(shapes) > 1:
        raise DataError(
            f'{name}: images leave the pipeline in different shapes (channels, height, width): '
            f'{", ".join(map(str, sorted(shapes)))}; add a crop or resize, and let LoadImage '
            f'make the channels alike'
        )
    return samples[0]


def _load_samples(dataset: ImageDataset, name: str) -> list[dict]:
    num_tried = min(len(dataset), _MAX_TRIED)
    samples: list[dict] = []
    unreadable: list[UnreadableImage] = []
    for index in np.linspace(0, len(dataset) - 1, num_tried).astype(int).tolist():
        try:
            sample = _run_pipeline(dataset, index, name)
        except UnreadableImage as error:
            unreadable.append(error)
            continue
        if sample is not None:
            samples.append(sample)
        if len(samples) == _SAMPLES:
            break
    if not samples:
        reason = f'the first: {unreadable[0]}' if unreadable else 'the pipeline returned None'
        raise DataError(f'{name}: none of {num_tried} images tried gives a sample; {reason}')
    return samples


def _run_pipeline(dataset: ImageDataset, index: int, name: str) -> Any:
    results = dataset.get_data_info(index)
    path = results['img_path']
    with seeded_rng(sample_seed(0, 0, index)):
        for number, step in enumerate(dataset.pipeline.transforms, 1):
            try:
                results = step(results)
            except UnreadableImage:
                raise
            except Exception as error:
                raise DataError(
                    f'{name}: step {number} of the pipeline, {step!r}, fails on {path}: '
                    f'{error} ({type(error).__name__})'
                ) from error
            if results is None:
                return None
    if 'inputs' not in results:
        raise DataError(f"{name}: the pipeline does not end in dict(type='mmpretrain.PackInputs')")
    return results
