"""simmim sweep: the tables and plots that come of a sweep."""

import csv
import sys
from pathlib import Path

import pytest
from compare_toys import SWIN
from mmengine.registry import init_default_scope
from PIL import Image

from simmim_mm.cli import common, parse_args
from simmim_mm.experiments.shapes import write_shapes

sys.path.insert(0, str(Path(__file__).parents[1] / 'test_experiments'))
from trial_toys import FAKE_TRAIN

BASE = f"""
_base_ = {str(Path(__file__).parents[2] / 'configs/_base_/default_runtime.py')!r}
mask = dict(type='RandomBlockMask', mask_patch_size=16, mask_ratio=0.6)
pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizedCrop', scale=64),
    mask,
    dict(type='mmpretrain.PackInputs', algorithm_keys=['mask']),
]
model = dict(
    type='MaskedImageModel',
    data_preprocessor=dict(type='MIMDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3),
    backbone={SWIN!r},
    neck=dict(type='PixelShuffleDecoder', in_channels=64, stride=32),
    head=dict(type='PixelHead', loss=dict(type='MaskedPixelLoss')),
)
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type='ReproducibleSampler', shuffle=True),
    dataset=dict(type='ImageDataset', data_root='shapes/unlabeled', pipeline=pipeline),
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))
train_cfg = dict(type='EpochTrainLoop', max_epochs=4)

visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
"""
SWEEP = (
    "base = 'base.py'\nsweep = {'mask.mask_ratio': [0.3, 0.8], 'mask.mask_patch_size': [8, 16]}\n"
)


@pytest.fixture
def sweep(tmp_path, monkeypatch, capsys, python):
    """Runs a sweep, by default on a training that takes no time; returns what it said."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'base.py').write_text(BASE)
    (tmp_path / 'fake.py').write_text(FAKE_TRAIN)
    write_shapes(tmp_path / 'shapes', train=8, val=4, unlabeled=4, size=64)

    real = [python, *common.train_command()[1:]]

    def run(text, *args, fake=True):
        (tmp_path / 'sweep.py').write_text(text)
        command = [python, str(tmp_path / 'fake.py')] if fake else real
        monkeypatch.setattr(common, 'train_command', lambda: command)
        verb, arguments = parse_args(['sweep', 'sweep.py', *args])
        verb.run(arguments)
        init_default_scope('simmim_mm')
        return capsys.readouterr().out

    return run


def rows(name='results.csv'):
    with open(f'work_dirs/sweep/{name}') as file:
        return list(csv.DictReader(file))


LOG = "probe = dict(type='log', metric='accuracy/top1')\n"


def test_table_and_plots_and_nothing_twice(sweep):
    text = SWEEP + LOG + "seeds = 2\noptions = {'gain': 2.0}\n"
    said = sweep(text)
    assert '8 trainings: 4 cases with 2 seeds each' in said
    table = rows()
    assert [(row['mask_ratio'], row['mask_patch_size']) for row in table] == [
        ('0.3', '8'), ('0.3', '16'), ('0.8', '8'), ('0.8', '16'),
    ]  # fmt: skip
    for row in table:  # the stand-in gives gain * (1 + seed)
        assert float(row['accuracy/top1']) == 3.0 and row['seeds'] == '2'
        assert float(row['sd']) == pytest.approx(2**0.5)
    distances = [float(row['avg_dist']) for row in table]
    assert distances[0] == min(distances) and distances[3] == max(distances)
    assert len(rows('trials.csv')) == 8
    for column in ('mask_ratio', 'avg_dist'):
        with Image.open(f'work_dirs/sweep/results_{column}.png') as plot:
            assert plot.width > 500
    again = sweep(text)
    assert again.count('finished before') == 8
    for row, former in zip(rows(), table):  # OpenCV's distances differ in the tenth digit
        assert {**row, 'avg_dist': ''} == {**former, 'avg_dist': ''}


def test_cases_are_listed_without_training(sweep):
    said = sweep(SWEEP + LOG, '--list')
    assert said.split()[:3] == ['mask_ratio', 'mask_patch_size', 'avg_dist']
    assert len(said.splitlines()) == 5 and not Path('work_dirs').exists()


def test_a_column_that_does_not_exist_is_told(sweep):
    with pytest.raises(ValueError, match="no column 'radius'; there are mask_ratio, mask_patch_si"):
        sweep(SWEEP + LOG + "options = {'gain': 2.0}\nplots = [dict(x='radius')]")


def test_a_probe_without_data_is_told_before_the_first_training(sweep):
    with pytest.raises((ValueError, FileNotFoundError), match='nowhere'):
        sweep(SWEEP + "probe = dict(type='knn', data='nowhere')")
    assert not Path('work_dirs').exists()


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['knn', 'linear'])
def test_a_real_sweep(sweep, kind):
    text = "base = 'base.py'\nepochs = 1\nsweep = {'mask.mask_ratio': [0.5]}\n"
    epochs = ', epochs=1' if kind == 'linear' else ''
    sweep(text + f"probe = dict(type='{kind}', data='shapes/classification'{epochs})", fake=False)
    (row,) = rows()
    figure = dict(knn='knn/accuracy', linear='accuracy/top1')[kind]
    assert 0 <= float(row[figure]) <= 100 and row['seeds'] == '1'
