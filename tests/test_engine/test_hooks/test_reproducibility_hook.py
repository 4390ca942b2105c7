import random

import numpy as np
import torch
from engine_toys import losses_of
from mmengine.hooks import Hook

from simmim_mm.engine.hooks.reproducibility_hook import seed_all


def _draw(*entropy):
    seed_all(*entropy)
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_a_function_of_all_its_numbers():
    draws = [_draw(*e) for e in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0)]]
    for kind in zip(*draws):
        assert len(set(kind)) == len(draws)
    assert _draw(2**31 - 1, 7, 10**7) == _draw(2**31 - 1, 7, 10**7)


def test_what_else_draws_numbers_does_not_matter(make_runner, tmp_path):
    class Gambler(Hook):
        priority = 'VERY_LOW'

        def before_train_iter(self, *args, **kwargs):
            torch.rand(3), np.random.rand(3)

        after_train_iter = before_train_iter

    plain = make_runner(work_dir=tmp_path / 'a')
    plain.train()
    other = make_runner(work_dir=tmp_path / 'b')
    other.register_hook(Gambler())
    other.train()
    assert losses_of(plain) == losses_of(other)
    assert len(set(losses_of(plain))) == 10
