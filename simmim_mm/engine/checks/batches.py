"""Are there enough images for a batch?"""

from typing import Any

from simmim_mm.datasets.errors import DataError


def check_batches(
    loader: Any, dataset: Any, processes: int = 1, place: str = 'train_dataloader'
) -> None:
    """Refuse a training of no batches: with ``drop_last`` an incomplete one is left out.

    Args:
        loader: Config of the dataloader.
        dataset: Its data set, built.
        processes: How many share it.
        place: Where it stands in the config.

    Raises:
        DataError: If the images of a process are fewer than a batch, and the batch is left out.
    """
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
