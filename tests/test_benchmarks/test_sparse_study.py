"""The study of sparse SimMIM runs from its data to its tables."""

import csv
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

BENCHMARKS = Path(__file__).parents[2] / 'benchmarks'


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    """Photographs with their manifest, segmentation maps and small images, all of them noise."""
    rng = np.random.default_rng(0)
    photos, camvid, cifar = folders = [tmp_path / name for name in ('photos', 'camvid', 'cifar')]
    (photos / 'original').mkdir(parents=True)
    cifar.mkdir()
    rows = []
    for i in range(32):
        name = f'original/{i:02}.png'
        Image.fromarray(rng.integers(256, size=(128, 128, 3), dtype=np.uint8)).save(photos / name)
        rows.append(dict(file=name, is_animal=i % 2))
    with open(photos / 'manifest.csv', 'w', newline='') as file:
        writer = csv.DictWriter(file, ['file', 'is_animal'])
        writer.writeheader()
        writer.writerows(rows)
    for split, name in (('train', 'train'), ('val', 'test')):
        for kind, shape, high in (('images', (48, 64, 3), 256), ('labels', (48, 64), 12)):
            folder = camvid / split / kind
            folder.mkdir(parents=True)
            pixels = rng.integers(high, size=shape, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / 'a.png')
        x = rng.integers(256, size=(128, 32, 32, 3), dtype=np.uint8)
        y = np.arange(128) % 10
        np.savez(cifar / f'{name}.npz', x=x, y=y)
    return [str(folder) for folder in folders]


def test_tables_are_printed_and_results_are_kept(data, tmp_path, monkeypatch, capsys):
    out = tmp_path / 'out'
    command = ['sparse_study.py', *data, '--out', str(out), '--seeds', '0', '--epochs', '1']
    monkeypatch.setattr(sys, 'argv', [*command, '--segmentation-steps', '1'])
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(torch, 'set_num_threads', lambda n: None)  # others run in this process
    runpy.run_path(str(BENCHMARKS / 'sparse_study.py'), run_name='__main__')
    first = capsys.readouterr().out
    assert len(list(out.glob('*.json'))) == 8  # two setups of four arms
    assert '| sparse, equal time | ' in first and '| mIoU, frozen | mIoU, fine-tuned |' in first

    runpy.run_path(str(BENCHMARKS / 'sparse_study.py'), run_name='__main__')
    again = capsys.readouterr().out
    assert [line for line in first.splitlines() if line.startswith('|')] == [
        line for line in again.splitlines() if line.startswith('|')
    ]
