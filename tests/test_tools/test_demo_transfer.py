"""tools/demo_transfer.py: its table, and a run of a few iterations."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / 'tools'))  # where it finds demo.py
demo = importlib.import_module('demo_transfer')
sys.path.remove(str(ROOT / 'tools'))

TASK_METRICS = ('detection, box AP', 'detection, mask AP', 'segmentation, mIoU')
TASK_METRICS += ('classification, accuracy',)


def rows(text: str) -> dict:
    found = re.findall(r'^  (\w+, [\w ]+?) {2,}(\d+\.\d) +(\d+\.\d)$', text, re.MULTILINE)
    return {name: (float(scratch), float(pretrained)) for name, scratch, pretrained in found}


def test_table_has_a_row_for_each_figure():
    figures = dict(
        detection=dict(scratch=[1.04, 2], pretrained=[3, 4]),
        segmentation=dict(scratch=[5], pretrained=[6]),
        classification=dict(scratch=[7], pretrained=[100]),
    )
    assert rows(demo.table(figures)) == dict(zip(TASK_METRICS, [(1, 3), (2, 4), (5, 6), (7, 100)]))


@pytest.mark.slow
def test_a_short_run_ends_with_figures_of_all_tasks_and_a_picture(tmp_path, python):
    pytest.importorskip('mmcv.ops', reason='mmdet needs the compiled operators of mmcv')
    command = [python, str(demo.TOOLS / 'demo_transfer.py'), '--out', 'out']
    command += ['--iters', '2', '--labeled', '8', '--val', '4', '--unlabeled', '8']
    path = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=dict(os.environ, PYTHONPATH=path),
        timeout=600,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    table = rows(result.stdout)
    assert tuple(table) == TASK_METRICS
    assert all(0 <= figure <= 100 for row in table.values() for figure in row)

    (checkpoint,) = re.findall(r'^checkpoint +(\S+)$', result.stdout, re.MULTILINE)
    for task in demo.TASKS:  # the one from the pretraining has its weights, the other has not
        loaded = f'weights loaded from {checkpoint}'
        for kind, told in (('pretrained', True), ('scratch', False)):
            (log,) = (tmp_path / 'out' / task.name / kind).glob('*/*.log')
            assert (loaded in log.read_text()) == told
    (picture,) = re.findall(r'^pictures +(\S+)$', result.stdout, re.MULTILINE)
    pixels = np.asarray(Image.open(tmp_path / picture))
    assert pixels.std() > 10
