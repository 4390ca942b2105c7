"""Your own images, the detector and the segmenter: files and commands, in order, on less data."""

import re

import pytest
from docs_pages import ROOT, blocks, run_page, shortened

pytest.importorskip('mmcv.ops', reason='mmdet needs the compiled operators of mmcv')
pytestmark = pytest.mark.slow

PAGES = ('own_images', 'detector', 'segmentation')  # each continues the first
FEW = (  # proposals
    'train_cfg=dict(rpn_proposal=dict(max_per_img=50), rcnn=dict(sampler=dict(num=16))), '
    'test_cfg=dict(rpn=dict(max_per_img=50))'
)
# What is made smaller: each is in the tutorials, and nothing else of it is changed.
SHORTER = {
    '--train 100 --val 50 --unlabeled 600': '--train 8 --val 4 --unlabeled 40',
    '--epochs 20': '--epochs 1',
    'epoch_20.pth': 'epoch_1.pth',
    'epochs = 8': 'epochs = 2',
    'max_epochs=2': 'max_epochs=1',
    'model = dict(roi_head=dict(bbox_head=dict(num_classes=len(classes))))': (
        f'model = dict({FEW}, roi_head=dict(bbox_head=dict(num_classes=4, fc_out_channels=32)))'
    ),
    'model = dict(\n    roi_head=': f'model = dict(\n    {FEW},\n    roi_head=',
    'iters = 300': 'iters = 2',
    'warmup = 20': 'warmup = 1',
    '--seeds 2': '--seeds 1',
}
TEXT = '\n'.join((ROOT / f'docs/tutorials/{page}.md').read_text() for page in PAGES)
TEXT = shortened(TEXT, SHORTER)


@pytest.fixture(scope='module')
def run(tmp_path_factory, python):
    """The folder in which all has run, and what the commands printed."""
    folder = tmp_path_factory.mktemp('guide')
    return folder, run_page(TEXT, folder, python)


def test_every_command_writes_what_the_tutorials_say(run):
    folder, printed = run
    for name in (
        *('scan/report.html', 'split/train.txt', 'data/pretraining/train', 'reconstruction.png'),
        *('work_dirs/pretraining/epoch_1.pth', 'work_dirs/detector', 'swin_mmdet.pth'),
        *('work_dirs/compare_detection/results.png', 'work_dirs/compare_classification/results.md'),
    ):
        assert (folder / name).exists(), name
    for metric in ('k=20: accuracy', 'coco/segm_mAP', 'coco/bbox_mAP', 'mIoU'):
        assert metric in printed, metric


def test_pasted_reports_and_tables_are_what_is_printed(run):
    """Those that depend neither on the number of images nor on that of iterations."""
    _, printed = run
    words = ' '.join(printed.split())
    checked = 0
    for language, block in blocks(TEXT):
        if language == 'text' and re.search('weights loaded|weight decay|verified', block):
            for line in block.splitlines():
                line = ' '.join(re.sub('largest difference .*', '', line).split())
                assert line.startswith('...') or line in words, line
            checked += 1
    assert checked >= 5
