"""Are there enough images for a batch?"""

from typing import Any

from simmim_mm.datasets.errors import DataError


def check_batches(
    loader: Any, dataset: Any, processes: int = 1, place: str = 'train_dataloader'
) -> None:
    """Refuse a training on one image, or of no batches: ``drop_last`` leaves incomplete ones out.

    Args:
        loader: Config of the dataloader.
        dataset: Its data set, built.
        processes: How many share it.
        place: Where it stands in the config.

    Raises:
        DataError: If there is one image, or the images of a process are fewer than a batch, and
            the batch is left out.
    """
    if len(dataset) == 1:
        raise DataError(
            f'{place}: one image is too few to train on: let data_root, or the folder given for '
            'training, be one of some hundred'
        )
    drop_last = loader.get('drop_last') or (loader.get('batch_sampler') or {}).get('drop_last')
    endless = 'Infinite' in str((loader.get('sampler') or {}).get('type'))
    batch = loader.get('batch_size') or 1
    own = -(-len(dataset) // processes)
    if drop_last and not endless and own < batch:
        each = f' on each of {processes} processes' if processes > 1 else ''
        raise DataError(
            f'{place}: {own} images{each} are fewer than a batch of {batch}, and drop_last=True '
            f'leaves incomplete batches out: nothing would be trained. Set {place}.batch_size to '
            f'{own} at most (--batch-size {own}), or {place}.drop_last=False'
        )
