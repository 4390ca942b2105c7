from collections.abc import Iterator, Sized

import numpy as np
import torch
from mmengine.dataset import DefaultSampler

from simmim_mm.datasets.image_dataset import images_by_shard
from simmim_mm.datasets.seeding import SeededIndex, sample_seed
from simmim_mm.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class ReproducibleSampler(DefaultSampler):
    """mmengine's sampler, yielding indices that carry a seed for their sample.

    The seed depends on ``(seed, epoch, index)`` only. A sample's crop and mask are therefore the
    same on any rank, in any worker, with any number of workers, and after a resume; they differ
    between samples and between epochs. As in :class:`mmengine.dataset.DefaultSampler` the ranks
    take turns along one permutation, so that a batch of ``B`` on each of ``R`` ranks holds the
    samples which one process with a batch of ``R * B`` would see.

    **Shards.** Images in shards are shuffled so that they are read shard by shard: the shards, and
    then the images of ``shuffle_shards`` successive ones together.

    Args:
        shuffle: A new permutation each epoch.
        seed: Identical on all ranks. ``None`` draws one and shares it among the ranks.
        round_up: Repeat the first samples until every rank has as many.
        fixed: Leave the epoch out of the seed, so that a validation set keeps its crops and masks.
        shuffle_shards: Number of shards whose images are shuffled together, at least 1. More
            shuffle better, and keep more of the disk's cache busy.
    """

    def __init__(
        self,
        dataset: Sized,
        shuffle: bool = True,
        seed: int | None = None,
        round_up: bool = True,
        fixed: bool = False,
        shuffle_shards: int = 16,
    ) -> None:
        super().__init__(dataset, shuffle=shuffle, seed=seed, round_up=round_up)
        if shuffle_shards < 1:
            raise ValueError(f'shuffle_shards must be at least 1, got {shuffle_shards}')
        self.fixed = fixed
        self.shuffle_shards = shuffle_shards
        self._shards = images_by_shard(dataset) if shuffle else None
        self._skip = self._skipped_epochs = 0

    def __iter__(self) -> Iterator[SeededIndex]:
        epoch = self.epoch + self._skipped_epochs
        order, first = self._order(epoch), self._skip
        self._skip = 0
        if self.round_up:  # np.resize repeats it
            order = np.resize(order, first + self.left_after(first) * self.world_size)
        if self.fixed:
            epoch = -1
        indices = order[first + self.rank :: self.world_size]
        return (SeededIndex(i, sample_seed(self.seed, epoch, i)) for i in map(int, indices))

    def _order(self, epoch: int) -> np.ndarray:
        """All indices, as they come in an epoch; the same on every rank."""
        if not self.shuffle:
            return np.arange(len(self.dataset))
        generator = torch.Generator().manual_seed(self.seed + epoch)

        def permutation(length: int) -> np.ndarray:
            return torch.randperm(length, generator=generator).numpy()

        if self._shards is None:
            return permutation(len(self.dataset))
        shards, found = permutation(len(self._shards)), []
        for i in range(0, len(shards), self.shuffle_shards):
            images = [self._shards[shard] for shard in shards[i : i + self.shuffle_shards]]
            together = np.concatenate(images)
            found.append(together[permutation(len(together))])
        return np.concatenate(found)

    def skip(self, num_samples: int) -> None:
        """Let the next iteration, and only that, begin after ``num_samples`` of this rank.

        This is how a run resumes in mid-epoch without loading what it has seen. As mmengine's
        iteration-based loop counts from the beginning of training, more than an epoch may be given:
        whole epochs are then added to every later :meth:`set_epoch`. (With ``drop_last`` an epoch
        has fewer samples for that loop than for the sampler: its order then differs after a resume.
        Epoch-based loops are exact.)
        """
        if num_samples < 0:
            raise ValueError(f'skip() takes the number of samples already used, got {num_samples}')
        self._skipped_epochs, skipped = divmod(num_samples, max(self.num_samples, 1))
        self._skip = skipped * self.world_size

    def skip_total(self, num_samples: int) -> None:
        """As :meth:`skip`, after ``num_samples`` of this epoch that all ranks together have used.

        They may have been another number of ranks, with other batches.
        """
        if num_samples < 0:
            raise ValueError(f'skip_total() takes a number of samples, got {num_samples}')
        self._skip = num_samples

    def left_after(self, num_samples: int) -> int:
        """Number of samples that :meth:`skip_total` leaves to this rank."""
        left = len(self.dataset) - num_samples
        return max(0, -(-(left if self.round_up else left - self.rank) // self.world_size))
