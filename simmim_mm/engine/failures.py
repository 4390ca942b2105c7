"""Failures of processes beside the training one, said in a sentence."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.dist import get_rank, get_world_size
from mmengine.logging import print_log

_RESUME = '--resume continues from the last checkpoint'


class ProcessLost(RuntimeError):
    """A process that the training needs has died, or does not answer."""


@contextmanager
def processes_explained() -> Iterator[None]:
    """Turn what PyTorch says of a lost process into :class:`ProcessLost`.

    Of several processes the first speaks for all, until they train: an error may then be that of a
    single one, and each logs its own.
    """
    try:
        with _lost_processes_named():
            yield
    except Exception as error:
        if rank := get_rank():
            text = f'process {rank} of {get_world_size()}: {error}'
            print_log(text, 'current', logging.ERROR)
        raise


@contextmanager
def _lost_processes_named() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if worker := re.search(r'DataLoader worker .*', text):
            raise ProcessLost(
                f'a process that loads images has died ({worker[0].rstrip(". ")}), most often '
                'because the memory is full: take fewer workers (train_dataloader.num_workers) or '
                f'smaller batches; {_RESUME}'
            ) from error
        if late := re.search(r'DataLoader timed out after (\d+) seconds', text):
            raise ProcessLost(
                f'no batch came within {late[1]} seconds (timeout of the dataloader): a file does '
                'not answer, as where a network drive hangs, or loading takes longer than that; '
                f'{_RESUME}'
            ) from error
        if get_world_size() > 1 and re.search('gloo|NCCL|Connection (closed|reset)', text):
            raise ProcessLost(
                'another process of this training has ended: the first error in the logs says why '
                f'({text.strip().splitlines()[0][:200]}); {_RESUME}'
            ) from error
        raise
