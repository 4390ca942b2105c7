import importlib.util
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / 'benchmarks' / 'step.py'


@pytest.fixture
def benchmark():
    spec = importlib.util.spec_from_file_location('step', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_losses_agree_with_mmpretrain(benchmark):
    """The benchmark compares like with like; it exits with an error where it does not."""
    benchmark.main(['--check', '--threads', str(torch.get_num_threads())])


def test_a_difference_is_an_error(benchmark, monkeypatch):
    head = dict(type='PixelHead', loss=dict(type='MaskedPixelLoss', criterion='l2'))
    ours, theirs = benchmark.MODELS_OF['simmim']
    monkeypatch.setitem(benchmark.MODELS_OF, 'simmim', ({**ours, 'head': head}, theirs))
    with pytest.raises(SystemExit, match='losses differ'):
        benchmark.main(['--check', '--threads', str(torch.get_num_threads())])
