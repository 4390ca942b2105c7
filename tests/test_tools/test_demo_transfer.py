"""tools/demo_transfer.py: its data, its sentence, and a run of a few iterations."""

import csv
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / 'tools'))  # where it finds demo.py
demo = importlib.import_module('demo_transfer')
sys.path.remove(str(ROOT / 'tools'))


def test_no_digit_and_no_photograph_of_the_validation_is_trained_on():
    training, held_out = demo.sources()
    assert len(training.digits) == 1297 and len(held_out.digits) == demo.HELD_OUT
    digits = [{digit.tobytes() for digit in source.digits} for source in (training, held_out)]
    assert digits[0].isdisjoint(digits[1])
    photographs = [{p.tobytes() for p in source.photographs} for source in (training, held_out)]
    assert photographs[0] and photographs[1] and photographs[0].isdisjoint(photographs[1])


def test_images_show_the_digit_of_their_folder_and_more_of_them_change_none(tmp_path):
    demo.write_digits(tmp_path / 'few', unlabeled=20, labeled=30, val=20)
    demo.write_digits(tmp_path / 'many', unlabeled=40, labeled=60, val=20)
    few, many = (
        {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob('*.png')}
        for name in ('few', 'many')
    )
    assert len(few) == 70 and len(many) == 120 and few.items() <= many.items()
    training, _ = demo.sources()
    small = np.stack([digit.ravel() for digit in training.digits])
    small = small - small.mean(1, keepdims=True)
    small /= np.linalg.norm(small, axis=1, keepdims=True)
    right = []
    for path in (tmp_path / 'many/labeled/train').rglob('*.png'):
        image = cv2.imread(str(path)).mean(-1)
        image = cv2.resize(image, (8, 8), interpolation=cv2.INTER_AREA).ravel()
        nearest = (small @ (image - image.mean())).argmax()
        right.append(training.labels[nearest] == int(path.parent.name))
    assert np.mean(right) > 0.8  # the nearest of the digits as they are, not turned or moved


def test_the_sentence_counts_the_gains_beyond_the_spread():
    rows = [
        dict(label_share='0.03', difference='', low='', high=''),
        dict(label_share='0.03', difference='12.34', low='2.0', high='22.68'),
        dict(label_share='1.0', difference='1.0', low='-3.0', high='5.0'),
    ]
    assert demo.sentence(rows, 1000) == (
        'Pretraining changes the accuracy by +12.3 points with 30 labels (2.0 to 22.7), +1.0 '
        'points with 1000 labels (-3.0 to 5.0) (95% intervals, paired by seed): 1 of 2 is a gain '
        'beyond the spread of the seeds.'
    )
    one_seed = [dict(label_share='0.1', difference='-2.0', low='', high='')]
    assert demo.sentence(one_seed, 100).endswith('none is a gain beyond the spread of the seeds.')


@pytest.mark.slow
def test_a_short_run_ends_with_a_table_a_curve_and_a_sentence(tmp_path, python):
    command = [python, str(demo.TOOLS / 'demo_transfer.py'), '--out', 'out', '--seeds', '1']
    command += ['--label-share', '0.1', '1', '--iters', '2', '--labeled', '100']
    command += ['--val', '20', '--unlabeled', '20']
    path = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=dict(os.environ, PYTHONPATH=path),
        timeout=600,
    )
    assert result.returncode == 0, result.stderr[-3000:] + result.stdout[-3000:]
    assert 'points with 10 labels,' in result.stdout
    with open(tmp_path / 'out/compare/results.csv', newline='') as file:
        table = {(row['start'], row['label_share']): row for row in csv.DictReader(file)}
    assert len(table) == 4 and all(0 <= float(r['accuracy/top1']) <= 100 for r in table.values())
    (checkpoint,) = re.findall(r'^checkpoint +(\S+)$', result.stdout, re.MULTILINE)
    loaded = f'weights loaded from {checkpoint}'
    for folder in (tmp_path / 'out/compare/trials').iterdir():
        (log,) = folder.glob('*/*.log')
        assert (loaded in log.read_text()) == folder.name.startswith('pretrained')
    (curve,) = re.findall(r'^curve +(\S+)$', result.stdout, re.MULTILINE)
    assert np.asarray(Image.open(tmp_path / curve)).std() > 10
