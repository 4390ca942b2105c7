"""The same seed gives the same weights, to the last bit, however the images are loaded.

Here for a method of each kind; ``make soak ARGS=--bits`` takes all, and every start method.
"""

import os

import pytest
import torch
from same_bits import TEACHER, trained


@pytest.mark.parametrize('method', ['MAE', 'Sparse SimMIM', 'Own average as teacher', TEACHER])
def test_the_weights_do_not_depend_on_the_workers(method, tmp_path):
    alone = trained(method, tmp_path)
    assert trained(method, tmp_path, workers=1, start='fork') == alone
    assert trained(method, tmp_path, seed=1) != alone


@pytest.fixture
def determinism(monkeypatch):
    """Undoes what ``deterministic=True`` sets in this process."""
    monkeypatch.setenv('CUBLAS_WORKSPACE_CONFIG', 'to be undone')
    monkeypatch.delenv('CUBLAS_WORKSPACE_CONFIG')
    flags = torch.backends.cudnn.flags
    with flags(torch.backends.cudnn.enabled, allow_tf32=torch.backends.cudnn.allow_tf32):
        yield
    torch.use_deterministic_algorithms(False)


def test_deterministic_lets_matrices_be_multiplied(determinism, tmp_path):
    """On a GPU PyTorch demands this setting; on a CPU it changes nothing."""
    trained('MAE', tmp_path, deterministic=True)
    assert torch.are_deterministic_algorithms_enabled()
    assert os.environ['CUBLAS_WORKSPACE_CONFIG'] == ':4096:8'


def test_deterministic_on_a_gpu(device, determinism, tmp_path):
    """Swin adds up gradients of its relative positions by index, in any order by default."""
    if device == 'cpu':
        pytest.skip('sums in another order are a matter of GPUs; there is none')
    runs = [trained('SimMIM, Swin', tmp_path, deterministic=True) for _ in range(3)]
    assert len(set(runs)) == 1
