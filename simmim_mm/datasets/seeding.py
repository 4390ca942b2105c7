"""Random numbers that belong to a sample, whoever loads it."""

import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

import numpy as np
import torch

_NUMPY: Any = np.random  # whose stubs lack get_bit_generator and set_bit_generator
# Swapped in for the length of a sample: 30 times cheaper than saving and restoring the state.
_SAMPLE_BITS = np.random.MT19937(0)


class SeededIndex(int):
    """An index into a dataset that carries the seed of its sample.

    It survives the trip to a worker process, and the arithmetic by which mmengine's
    ``ConcatDataset`` and ``RepeatDataset`` turn it into an index of the wrapped dataset. Wrappers
    that look the index up in a table (``torch.utils.data.Subset``) lose the seed: the sample is
    then drawn from the worker's own random state.
    """

    seed: int

    def __new__(cls, value: int, seed: int = 0) -> 'SeededIndex':
        self = super().__new__(cls, value)
        self.seed = seed
        return self

    def __getnewargs__(self) -> tuple[int, int]:
        return int(self), self.seed

    def __repr__(self) -> str:
        return f'SeededIndex({int(self)}, seed={self.seed})'

    def __add__(self, other: int) -> 'SeededIndex':
        return SeededIndex(int(self) + other, self.seed)

    __radd__ = __add__

    def __sub__(self, other: int) -> 'SeededIndex':
        return SeededIndex(int(self) - other, self.seed)

    def __mod__(self, other: int) -> 'SeededIndex':
        return SeededIndex(int(self) % other, self.seed)

    def __floordiv__(self, other: int) -> 'SeededIndex':
        return SeededIndex(int(self) // other, self.seed)


def sample_seed(seed: int, epoch: int, index: int) -> int:
    """64-bit seed of one sample in one epoch.

    A hash and not a sum: with ``seed + epoch + index`` neighboring samples of neighboring epochs
    would share their crops and masks.
    """
    key = struct.pack('<qqq', seed, epoch, index)
    return int.from_bytes(blake2b(key, digest_size=8).digest(), 'little')


@contextmanager
def seeded_rng(seed: int | None) -> Iterator[None]:
    """Seed ``random``, ``numpy.random`` and torch's CPU generator, and restore all three after.

    The seed is any 64-bit number; NumPy's legacy generator takes its lower 32 bits. With ``None``
    nothing is touched. Not re-entrant. About 0.1 ms.
    """
    if seed is None:
        yield
        return
    python_state = random.getstate()
    torch_state = torch.default_generator.get_state()
    numpy_bits = _NUMPY.get_bit_generator()
    try:
        random.seed(seed)
        torch.default_generator.manual_seed(seed)
        _NUMPY.set_bit_generator(_SAMPLE_BITS)
        np.random.seed(seed & 0xFFFFFFFF)
        yield
    finally:
        _NUMPY.set_bit_generator(numpy_bits)
        torch.default_generator.set_state(torch_state)
        random.setstate(python_state)
