"""Data sets inside others: ``ConcatDataset``, ``RepeatDataset``, ``ClassBalancedDataset``, ..."""

from collections.abc import Iterator
from typing import Any


def single_datasets(dataset: Any, place: str = 'dataset') -> Iterator[tuple[str, Any]]:
    """The data sets inside any nesting of wrappers: mmengine's, mmdet's, mmseg's, PyTorch's.

    Args:
        dataset: A data set, or its config.
        place: Where it stands in the config, such as ``'train_dataloader.dataset'``.

    Yields:
        Place, such as ``'train_dataloader.dataset.datasets.0'``, and data set or config.
    """
    config = dataset if isinstance(dataset, dict) else None
    for name in ('datasets', 'dataset', '_dataset'):
        inner = getattr(dataset, name, None) if config is None else config.get(name)
        if inner is None:
            continue
        if name != 'datasets':
            yield from single_datasets(inner, f'{place}.dataset')
        else:
            for i, part in enumerate(inner):
                yield from single_datasets(part, f'{place}.{name}.{i}')
        return
    yield place, dataset
