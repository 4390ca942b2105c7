"""Which files of a dataset have been read, and which could not be."""

import torch
from mmengine.dist import all_reduce

_UNREAD, _GOOD, _BAD = 0, 1, 2
_MIN_READ = 1000


class FileStatus:
    """One byte per file, in memory shared by the worker processes of one rank.

    Args:
        num_files: Length of the dataset.
    """

    def __init__(self, num_files: int):
        # A tensor, because unlike multiprocessing.Array it can be pickled and copied at any time,
        # and still is the same memory in forked and in spawned workers.
        self.state = torch.zeros(num_files, dtype=torch.uint8).share_memory_()

    def __deepcopy__(self, memo: dict) -> 'FileStatus':
        # mmengine's runner copies what it is given; a copied tensor would not be shared any more.
        other = FileStatus(len(self.state))
        other.state.copy_(self.state)
        return other

    def mark_good(self, index: int) -> None:
        """Note that a file was read. A file that failed once stays marked as bad."""
        state = self.state.numpy()
        if state[index] == _UNREAD:
            state[index] = _GOOD

    def mark_bad(self, index: int) -> bool:
        """Note that a file could not be read; True if no worker had noted it before."""
        state = self.state.numpy()
        is_news = bool(state[index] != _BAD)
        state[index] = _BAD
        return is_news

    def bad(self, all_ranks: bool = False) -> list[int]:
        """Indices of the unreadable files found so far by any worker of this rank, in order.

        Args:
            all_ranks: By any rank; then every rank has to call this.
        """
        is_bad = (self.state == _BAD).to(torch.uint8)
        if all_ranks:
            all_reduce(is_bad, op='max')
        return is_bad.nonzero().flatten().tolist()

    def count(self) -> tuple[int, int]:
        """Numbers of unreadable files and of files tried so far, by all workers of this rank.

        So that a few unlucky files at the beginning do not count for much, the second number is
        never below 1000 (or the length of the dataset, where that is smaller).
        """
        tried = int((self.state != _UNREAD).sum())
        return int((self.state == _BAD).sum()), max(tried, min(len(self.state), _MIN_READ))
