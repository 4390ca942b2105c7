from collections.abc import Iterator, Sized

from mmengine.dataset import DefaultSampler

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

    Args:
        shuffle: A new permutation each epoch.
        seed: Identical on all ranks. ``None`` draws one and shares it among the ranks.
        round_up: Repeat the first samples until every rank has as many.
        fixed: Leave the epoch out of the seed, so that a validation set keeps its crops and masks.
    """

    def __init__(
        self,
        dataset: Sized,
        shuffle: bool = True,
        seed: int | None = None,
        round_up: bool = True,
        fixed: bool = False,
    ) -> None:
        super().__init__(dataset, shuffle=shuffle, seed=seed, round_up=round_up)
        self.fixed = fixed
        self._skip = self._skipped_epochs = 0

    def __iter__(self) -> Iterator[SeededIndex]:
        given_epoch = self.epoch
        self.epoch += self._skipped_epochs  # DefaultSampler permutes by self.epoch
        indices = list(super().__iter__())[self._skip :]
        epoch = -1 if self.fixed else self.epoch
        self.epoch, self._skip = given_epoch, 0
        return (SeededIndex(i, sample_seed(self.seed, epoch, i)) for i in indices)

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
        self._skipped_epochs, self._skip = divmod(num_samples, max(self.num_samples, 1))
