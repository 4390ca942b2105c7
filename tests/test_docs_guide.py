"""The tutorial on detectors: its files and commands, in order, on less data and shorter."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('mmcv.ops', reason='mmdet needs the compiled operators of mmcv')
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / 'docs/tutorials/detector.md').read_text()
# What is made smaller: each stands in the guide, and nothing else of it is changed.
SHORTER = {
    '--train 100 --val 50 --unlabeled 600': '--train 8 --val 4 --unlabeled 40',
    'epochs = 20': 'epochs = 4',
    'epoch_20.pth': 'epoch_4.pth',
    'batch_size=32': 'batch_size=16',
    'epochs = 8': 'epochs = 2',
    'max_epochs=2': 'max_epochs=1',
    'interval=10': 'interval=2',
    'iters = 300': 'iters = 2',
    'warmup = 20': 'warmup = 1',
    '--seeds 2': '--seeds 1',
}


def blocks(text: str) -> list:
    """Language and content of each fenced block, in order."""
    return re.findall(r'^```(\w*)\n(.*?)^```$', text, re.MULTILINE | re.DOTALL)


def shortened(text: str) -> str:
    for old, new in SHORTER.items():
        assert old in text, f'docs/tutorials/detector.md has no {old!r}'
        text = text.replace(old, new)
    return text


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """The folder in which all has run, and what the commands printed."""
    folder = tmp_path_factory.mktemp('guide')
    for name in ('configs', 'tools'):
        (folder / name).symlink_to(ROOT / name)
    paths = dict(
        PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']]),
        PYTHONPATH=os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]),
    )
    printed = ''
    for language, block in blocks(shortened(TEXT)):
        if language == 'python':
            (folder / re.match(r'# (my_\w+\.py)\n', block).group(1)).write_text(block)
        elif language == 'bash':
            done = subprocess.run(
                ['bash', '-ec', block],
                capture_output=True,
                text=True,
                cwd=folder,
                env=dict(os.environ, **paths),
                timeout=600,
            )
            assert done.returncode == 0, f'{block}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}'
            printed += done.stdout + done.stderr
    return folder, printed


def test_every_command_leaves_what_is_told(run):
    folder, printed = run
    for name in (
        *('scan/report.html', 'split/train.txt', 'data/pretraining/train', 'reconstruction.png'),
        *('work_dirs/pretraining/epoch_4.pth', 'work_dirs/detector', 'swin_mmdet.pth'),
        *('work_dirs/compare_detection/results.png', 'work_dirs/compare_classification/results.md'),
    ):
        assert (folder / name).exists(), name
    for figure in ('k=20: accuracy', 'kNN accuracy on', 'coco/segm_mAP', 'coco/bbox_mAP', 'mIoU'):
        assert figure in printed, figure


def test_pasted_reports_and_tables_are_what_is_printed(run):
    """Those that depend neither on the number of images nor on that of iterations."""
    _, printed = run
    words = ' '.join(printed.split())
    checked = 0
    for language, block in blocks(shortened(TEXT)):
        if language == 'text' and re.search('weights loaded|weight decay|verified', block):
            for line in block.splitlines():
                line = ' '.join(re.sub('largest difference .*', '', line).split())
                assert line.startswith('...') or line in words, line
            checked += 1
    assert checked >= 5
