import random

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook

from simmim_mm.registry import HOOKS


@HOOKS.register_module()
class ReproducibilityHook(Hook):
    """Makes every iteration's randomness a function of (seed, process, iteration) alone.

    Before each iteration the generators of python, numpy and torch (CPU and GPU) are seeded.
    What the model draws (drop path, dropout, random targets) then depends neither on what ran
    before, such as a validation or a drawing, nor on where a run was interrupted: a resumed run
    gives the same losses as one that was not, to the last bit where the arithmetic itself is
    deterministic (on CPU).

    The data have their own seeds, by sample; see ``ReproducibleSampler``.
    """

    # After all other hooks, which may draw numbers of their own.
    priority = 'LOWEST'

    def before_run(self, runner) -> None:
        """Note the seed that the sampler was built with."""
        self._built_with = runner.seed

    def before_train(self, runner) -> None:
        """Let the data follow the seed of the checkpoint.

        mmengine builds the sampler before it reads the checkpoint. Without a seed in the config
        the sampler would continue with another random one.
        """
        sampler = runner.train_dataloader.sampler
        if getattr(sampler, 'seed', None) == self._built_with:
            sampler.seed = runner.seed

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        seed_all(runner.seed, get_rank(), runner.iter)


def seed_all(*entropy: int) -> None:
    """Seed python, numpy and torch from a tuple of non-negative integers."""
    seeds = np.random.SeedSequence(entropy).generate_state(4)
    random.seed(int(seeds[0]))
    np.random.seed(seeds[1])
    torch.manual_seed(int(seeds[2]) << 32 | int(seeds[3]))
