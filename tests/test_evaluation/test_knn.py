"""The vote of the neighbors against its formula, and folders of labeled images."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from simmim_mm.datasets.errors import DataError
from simmim_mm.evaluation.knn import load_split, weighted_knn


def brute_force(bank, labels, query, k, temperature):
    def cosine(a, b):
        return sum(x * y for x, y in zip(a, b)) / math.sqrt(
            sum(x * x for x in a) * sum(y * y for y in b)
        )

    similar = sorted(((cosine(query, x), label) for x, label in zip(bank, labels)), reverse=True)
    votes = Counter()
    for similarity, label in similar[:k]:
        votes[label] += math.exp(similarity / temperature)
    return max(votes, key=votes.get)


@pytest.mark.parametrize('k, temperature', [(1, 0.07), (7, 0.07), (7, 5.0), (100, 0.3)])
def test_votes(k, temperature):
    rng = np.random.default_rng(0)
    bank, queries = rng.normal(size=(60, 5)), rng.normal(size=(40, 5)) * 3
    labels = rng.integers(0, 4, 60)
    expected = [brute_force(bank, labels, q, k, temperature) for q in queries]
    args = map(torch.tensor, (bank, labels, queries))
    assert weighted_knn(*args, k, temperature, chunk=7).tolist() == expected


def test_without_queries_each_is_classified_by_all_others():
    rng = np.random.default_rng(1)
    bank, labels = rng.normal(size=(50, 4)), rng.integers(0, 3, 50)
    expected = [
        brute_force(np.delete(bank, i, 0), np.delete(labels, i), bank[i], 6, 0.1) for i in range(50)
    ]
    found = weighted_knn(torch.tensor(bank), torch.tensor(labels), None, 6, 0.1, chunk=16)
    assert found.tolist() == expected


def test_a_low_temperature_does_not_overflow():
    bank = torch.eye(4)
    labels = torch.tensor([2, 0, 1, 1])
    assert weighted_knn(bank, labels, bank, 4, 1e-4).tolist() == labels.tolist()


def classes(root, **counts):
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.new('RGB', (8, 8)).save(root / name / f'{i}.png')
    return root


def test_folders(tmp_path):
    both = classes(tmp_path / 'a' / 'train', cat=2, dog=3).parent
    classes(both / 'val', cat=1, dog=1)
    bank, queries = load_split(both)
    assert bank.classes == ('cat', 'dog') and bank.labels.tolist() == [0, 0, 1, 1, 1]
    assert queries.labels.tolist() == [0, 1]
    assert load_split(both / 'train')[1] is None
    assert load_split(both / 'train', both / 'val')[1].paths == queries.paths


def test_folders_that_cannot_be_used(tmp_path):
    with pytest.raises(DataError, match=r'no folder .*nowhere'):
        load_split(tmp_path / 'nowhere')
    classes(tmp_path / 'one', cat=2)
    with pytest.raises(DataError, match='has 1 class folders'):
        load_split(tmp_path / 'one')
    classes(tmp_path / 'gap', cat=2, dog=0)
    with pytest.raises(DataError, match=r"no image in 1 of 2 class folders of .*gap: 'dog'"):
        load_split(tmp_path / 'gap')
    classes(tmp_path / 'other' / 'train', cat=1, dog=1)
    classes(tmp_path / 'other' / 'val', cat=1, cow=1)
    with pytest.raises(DataError, match="'cow', 'dog'"):
        load_split(tmp_path / 'other')
