"""Which trainings a study file stands for."""

import math
import re
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from simmim_mm.experiments.sweep import data_folders, load_sweep, sweep_cases

BASE = """
default_scope = 'simmim_mm'
mask = dict(type='RandomBlockMask', mask_patch_size=32, mask_ratio=0.6)
dataset = dict(type='ImageDataset', data_root='images', pipeline=[dict(type='LoadImage'), mask])
train_dataloader = dict(batch_size=8, dataset=dict(type='RepeatDataset', times=2, dataset=dataset))
val_dataloader = dict(dataset=dict(dataset, data_root='held_out'))
model = dict(backbone=dict(type='MaskedSwin', img_size=192), target=[dict(type='LowFreq')])
train_cfg = dict(max_epochs=100)
cosine = dict(type='CosineAnnealingLR', T_max=90, begin=10)
param_scheduler = [dict(type='LinearLR', end=10), cosine]
custom_hooks = [dict(type='LossHook')]
"""


@pytest.fixture
def cases(tmp_path):
    """The cases of a study file on ``BASE``."""
    init_default_scope('simmim_mm')
    (tmp_path / 'base.py').write_text(BASE)

    def make(text):
        (tmp_path / 'study.py').write_text("base = 'base.py'\n" + text)
        return sweep_cases(load_sweep(tmp_path / 'study.py'))

    return make


def masks(cfg):
    """The mask steps of training and validation."""
    train = cfg.train_dataloader.dataset.dataset.pipeline
    return [train[1].to_dict(), cfg.val_dataloader.dataset.pipeline[1].to_dict()]


def test_every_combination_is_a_case_with_its_avg_dist(cases):
    found = cases("sweep = {'mask.mask_ratio': [0.6, 0.9], 'mask.mask_patch_size': [4, 32]}")
    assert [tuple(case.columns.values())[:2] for case in found] == [
        (0.6, 4),
        (0.6, 32),
        (0.9, 4),
        (0.9, 32),
    ]
    assert list(found[0].columns) == ['mask_ratio', 'mask_patch_size', 'avg_dist']
    assert found[1].name == 'mask_ratio=0.6, mask_patch_size=32'
    # of random blocks of 32 pixels at 192, as computed beforehand and independently
    assert [found[i].columns['avg_dist'] for i in (1, 3)] == pytest.approx([16.8, 48.5], rel=0.05)
    for case in found:
        ratio, size = list(case.columns.values())[:2]
        expected = dict(type='RandomBlockMask', mask_patch_size=size, mask_ratio=ratio)
        assert masks(case.cfg) == [expected] * 2


def test_a_mask_is_replaced_whole_but_for_its_token_stride(cases):
    (square, semantic) = cases(
        "sweep = {'mask': [dict(type='SquareMask', mask_ratio=0.25), dict(type='SemanticMask')]}"
    )
    assert masks(square.cfg) == [dict(type='SquareMask', mask_ratio=0.25)] * 2
    assert square.columns['mask'] == 'SquareMask(mask_ratio=0.25)'
    assert square.columns['avg_dist'] == pytest.approx(23.7, rel=0.05)
    assert semantic.columns['avg_dist'] is None  # it depends on the images


def test_settings_of_all_cases_and_of_each(cases):
    text = """
epochs = 20
options = {'train_dataloader.batch_size': 4, 'model.target': []}
cases = [
    dict(name='plain', options={}),
    dict(name='low', options={'model.target': [dict(type='LowFreq', radius=5)]}),
]
"""
    plain, low = cases(text)
    assert [case.name for case in (plain, low)] == ['plain', 'low']
    assert plain.columns['case'] == 'plain'
    assert [case.cfg.train_dataloader.batch_size for case in (plain, low)] == [4, 4]
    assert plain.cfg.model.target == [] and low.cfg.model.target[0].radius == 5
    for case in (plain, low):
        warmup, cosine = case.cfg.param_scheduler
        assert case.cfg.train_cfg.max_epochs == 20
        assert (warmup.end, cosine.begin, cosine.T_max) == (2, 2, 18)


def test_columns_of_equal_names_keep_their_whole_key(cases):
    (case,) = cases("sweep = {'optimizer.lr': [1e-3], 'param_scheduler.0.lr': [1], 'a.b': [[1]]}")
    assert list(case.columns)[:3] == ['optimizer.lr', 'param_scheduler.0.lr', 'b']


@pytest.mark.parametrize(('epochs', 'interval'), [(20, 4), (7, 7)])
def test_nearest_neighbors_are_looked_at_in_the_end(cases, epochs, interval):
    text = f"epochs = {epochs}\nsweep = {{'mask.mask_ratio': [0.5]}}\n"
    (case,) = cases(text + "probe = dict(type='knn', data='labeled', k=5)")
    first, hook = case.cfg.custom_hooks
    assert first.type == 'LossHook'
    expected = dict(type='KNNHook', data_root='labeled', interval=interval, by_epoch=True, k=5)
    assert hook == expected and epochs % hook.interval == 0


def test_all_folders_of_the_training_are_known(cases):
    (case,) = cases("sweep = {'mask.mask_ratio': [0.5]}")
    assert data_folders(case.cfg) == ['images']
    concat = dict(type='ConcatDataset', datasets=[dict(data_root='a'), dict(data_root='b')])
    assert data_folders(Config(dict(train_dataloader=dict(dataset=concat)))) == ['a', 'b']


ROOT = Path(__file__).parents[2]
EXAMPLES = [ROOT / 'docs/how-to/sweep.md', *sorted((ROOT / 'configs/sweeps').glob('*.py'))]


@pytest.mark.parametrize('path', EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_studies_of_settings_that_exist(path, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    init_default_scope('simmim_mm')
    if path.suffix == '.md':
        (tmp_path / 'study.py').write_text(
            re.search('```python\n(.*?)```', path.read_text(), re.S)[1]
        )
        path = tmp_path / 'study.py'
    study = load_sweep(path)
    assert len(sweep_cases(study)) == math.prod(map(len, study.sweep.values())) >= 6
    base = Config.fromfile(study.base)
    for key in [*study.options, *study.sweep]:
        node, *rest = key.split('.')
        if node != 'mask':
            node = base[node]
            for part in rest:
                node = node[part]  # KeyError: no such setting


SWEEP = "sweep = {'mask.mask_ratio': [0.5]}\n"


@pytest.mark.filterwarnings('ignore:the config .* is now:FutureWarning')
def test_sweeps_and_bases_of_version_0_1_are_found(tmp_path):
    old, new = 'studies/cifar10_ratio_and_unit.py', 'sweeps/cifar10_ratio_and_block.py'
    assert load_sweep(ROOT / 'configs' / old) == load_sweep(ROOT / 'configs' / new)
    base = 'pixmim_mae_vit-micro-p4_1xb128-coslr-300e_cifar10-32px.py'
    (tmp_path / 'study.py').write_text(f"base = '../configs/pixmim/{base}'\n{SWEEP}")
    (case,) = sweep_cases(load_sweep(tmp_path / 'study.py'))
    assert [target.type for target in case.cfg.model.target] == ['LowFreq', 'NormPix']
    assert case.cfg.train_dataloader.dataset.pipeline[1].size == 32


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (SWEEP + 'ratio = 3', 'unknown ratio; known are base, '),
        ('seeds = 2', 'give either sweep or cases'),
        (SWEEP + "cases = [dict(name='a', options={})]", 'give either sweep or cases'),
        (SWEEP + "probe = dict(type='svm')", "probe.type is 'svm'; known are knn, linear, log"),
        (SWEEP + "probe = dict(type='knn')", "'knn' needs data"),
        (SWEEP + "probe = dict(type='log')", "'log' needs metric"),
        (SWEEP + 'epochs = 2\niters = 9', 'give epochs or iters, not both'),
        (SWEEP + 'iters = 9', r'iters=9, but the config counts epochs \(100\): give epochs'),
    ],
)
def test_mistakes_are_told(cases, text, message):
    with pytest.raises(ValueError, match=message):
        cases(text)


def test_missing_files_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no config file .*none\.py'):
        load_sweep(tmp_path / 'none.py')
    (tmp_path / 'study.py').write_text(SWEEP)
    with pytest.raises(ValueError, match="give base = 'CONFIG'"):
        load_sweep(tmp_path / 'study.py')
    (tmp_path / 'study.py').write_text("base = 'none.py'\n" + SWEEP)
    with pytest.raises(FileNotFoundError, match=r'study\.py: no config file none\.py'):
        load_sweep(tmp_path / 'study.py')


def test_a_mask_setting_without_a_mask_is_told(cases, tmp_path):
    (tmp_path / 'base.py').write_text(BASE.replace(', mask]', ']'))
    (tmp_path / 'study.py').write_text("base = 'base.py'\n" + SWEEP)
    with pytest.raises(ValueError, match='no step of the pipelines makes a mask'):
        sweep_cases(load_sweep(tmp_path / 'study.py'))
