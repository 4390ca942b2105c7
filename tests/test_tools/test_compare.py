"""simmim compare: what it builds from a checkpoint, what it refuses, and a run of each probe."""

import csv
import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from compare_toys import BACKBONES, MEAN, STD, TOOLS, write_checkpoint
from mmengine.config import Config
from mmengine.registry import MODELS
from PIL import Image

from simmim_mm.cli import compare, parse_args
from simmim_mm.engine.checks import check_run
from simmim_mm.experiments.downstream import set_budget, set_minutes
from simmim_mm.experiments.shapes import CLASSES, write_shapes

TASKS = ('classification', 'detection', 'segmentation')


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """A folder with generated images, ``shapes``, and tiny checkpoints."""
    folder = tmp_path_factory.mktemp('compare')
    write_shapes(folder / 'shapes', train=8, val=4, unlabeled=2, size=64)
    for name, backbone in BACKBONES.items():
        write_checkpoint(folder / f'{name}.pth', backbone)
    return folder


@pytest.fixture
def prepare(project, tmp_path, monkeypatch):
    """Everything that comes before the first training; returns its starts."""
    monkeypatch.chdir(project)

    def run(task, *args, data=None, checkpoint='swin.pth'):
        if data is None and '--config' not in args:
            data = f'shapes/{task}' if task == 'classification' else 'shapes'
        command = ['compare', task, *([str(data)] if data else []), *map(str, args)]
        _, arguments = parse_args([*command, '--checkpoints', f'a={checkpoint}'])
        return compare.prepare(arguments, tmp_path)

    return run


FAMILIES = [
    *(('detection', family, 'mmdet') for family in ('swin', 'swinv2', 'vit', 'convvit', 'resnet')),
    *(('segmentation', family, 'mmseg') for family in ('swin', 'vit', 'convvit')),
    *(('classification', family, 'mmpretrain') for family in BACKBONES),
]


@pytest.mark.parametrize(('task', 'family', 'package'), FAMILIES)
def test_a_config_suits_the_backbone_of_each_checkpoint(prepare, task, family, package):
    pytest.importorskip(package)
    starts, paths = prepare(task, checkpoint=f'{family}.pth')
    assert [(start.name, start.checkpoint) for start in starts] == [
        ('from scratch', None),
        ('a', f'{family}.pth'),
    ]
    scratch, own = (Config(start.settings) for start in starts)
    assert scratch.model.backbone.pop('init_cfg') is None
    assert own.model.backbone.pop('init_cfg') == dict(
        type='Pretrained', checkpoint=f'{family}.pth', prefix='backbone.'
    )
    assert scratch.to_dict() == own.to_dict()
    assert (own.model.data_preprocessor.mean, own.model.data_preprocessor.std) == (MEAN, STD)
    assert len(paths) >= 2 and all(path.exists() for path in paths)

    model = MODELS.build(own.model).eval()  # in the task's scope
    images = torch.zeros(1, 3, *[BACKBONES[family].get('img_size', 64)] * 2)
    with torch.no_grad():
        feats = model.extract_feat(images)
        heads = dict(detection='rpn_head', segmentation='decode_head', classification='head')
        head = getattr(model, heads[task])
        scores = head(feats)
    if task == 'classification':
        assert scores.shape == (1, len(CLASSES))
    elif task == 'segmentation':
        assert scores.shape == (1, 1 + len(CLASSES), 16, 16)
    else:  # strides 4 to 64, as the anchors expect
        assert [level.shape[-1] for level in scores[0]] == [16, 8, 4, 2, 1]
        assert model.roi_head.bbox_head.num_classes == len(CLASSES)


def test_one_baseline_for_checkpoints_of_one_kind_and_others_for_others(project, monkeypatch):
    more = ['--checkpoints', 'a=swin.pth', 'b=swin.pth', 'c=vit.pth']
    monkeypatch.chdir(project)
    _, args = parse_args(['compare', 'classification', 'shapes/classification', *more])
    starts, _ = compare.prepare(args, Path('work'))
    assert {start.name: start.baseline for start in starts} == {
        'from scratch': 'from scratch',
        'a': 'from scratch',
        'b': 'from scratch',
        'from scratch (c)': 'from scratch (c)',
        'c': 'from scratch (c)',
    }


def _change_json(source, target, change):
    content = json.loads(Path(source).read_text())
    change(content)
    target.write_text(json.dumps(content))
    return target


def _rename(content):
    content['categories'][0]['name'] = 'hexagon'


def _empty(content):
    content['annotations'] = []


@pytest.mark.parametrize(
    ('change', 'told'), [(_rename, 'has categories .* hexagon'), (_empty, 'no annotations')]
)
def test_a_wrong_json_is_one_error(prepare, project, tmp_path, change, told):
    pytest.importorskip('mmdet')
    source = project / 'shapes' / 'annotations' / 'instances_val.json'
    path = _change_json(source, tmp_path / 'wrong.json', change)
    with pytest.raises(ValueError, match=told):
        prepare('detection', '--val-ann', path)


@pytest.mark.filterwarnings('ignore:faster_coco_eval')
def test_categories_in_another_order_are_put_right(prepare, project, tmp_path):
    pytest.importorskip('mmdet')
    source = project / 'shapes' / 'annotations' / 'instances_val.json'

    def reorder(content):
        """Without the last category, the others turned round and numbered anew."""
        names = {c['id']: c['name'] for c in content['categories'][:-1]}
        ids = {name: number for number, name in enumerate(reversed(names.values()), 7)}
        content['annotations'] = [
            dict(a, category_id=ids[names[a['category_id']]])
            for a in content['annotations']
            if a['category_id'] in names
        ]
        content['categories'] = [dict(id=number, name=name) for name, number in ids.items()]

    path = _change_json(source, tmp_path / 'val.json', reorder)
    starts, _ = prepare('detection', '--val-ann', path)
    used = check_run(Config(starts[0].settings)).datasets['val_dataloader']
    objects = [x for i in range(len(used)) for x in used.get_data_info(i)['instances']]
    labels = [x['bbox_label'] for x in objects]
    names = {c['id']: c['name'] for c in json.loads(path.read_text())['categories']}
    expected = [names[a['category_id']] for a in json.loads(path.read_text())['annotations']]
    assert expected and [CLASSES[label] for label in labels] == expected


def _maps(folder: Path, values, val_values) -> Path:
    for part, numbers in (('train', values), ('val', val_values)):
        for kind in ('img_dir', 'ann_dir'):
            (folder / kind / part).mkdir(parents=True)
        for i, value in enumerate(numbers):
            labels = np.zeros((8, 8), np.uint8)
            labels[:4] = value
            Image.fromarray(labels).save(folder / 'ann_dir' / part / f'{i}.png')
            Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(
                folder / 'img_dir' / part / f'{i}.jpg'
            )
    return folder


@pytest.mark.parametrize(
    ('values', 'val_values', 'options', 'told'),
    [
        ([1, 2], [3], [], r'0.png has the value 3, which is no class of 0, 1, 2, and 255 is left'),
        ([1, 2], [1], ['--classes', 'sky', 'sea'], r'1.png has the value 2, which is no class'),
        ([255, 255], [255], [], r'Two classes are 0 and 1.* --values 255=1'),
        ([1, 255], [1], ['--ignore-value', '0'], r'the value 255.* --values 255=ignore'),
        ([1, 2], [1], ['--values', '2=two'], r'2=two: map a number'),
    ],
)
def test_values_beyond_the_classes_are_one_error(
    prepare, tmp_path, values, val_values, options, told
):
    pytest.importorskip('mmseg')
    folder = _maps(tmp_path / 'maps', values, val_values)
    with pytest.raises(ValueError, match=told):
        prepare('segmentation', *options, data=folder)


@pytest.mark.parametrize(
    ('values', 'options', 'classes', 'mapped'),
    [
        ([1, 2], [], ('class_0', 'class_1', 'class_2'), {}),
        ([1, 11], ['--ignore-value', 11], ('class_0', 'class_1'), {11: 255}),
        ([1, 2], ['--ignore-value', 0], ('class_1', 'class_2'), {0: 255, 1: 0, 2: 1}),
        (
            [1, 2],
            ['--ignore-value', 0, '--classes', 'sky', 'sea', 'sun'],
            ('sky', 'sea', 'sun'),
            {0: 255, 1: 0, 2: 1, 3: 2},
        ),
        ([50, 100], ['--classes', *'abc'], ('a', 'b', 'c'), {50: 1, 100: 2}),
        ([255, 255], ['--values', '255=1'], ('class_0', 'class_1'), {255: 1}),
        (
            [1, 7],
            ['--values', '7=ignore', '0=2'],
            ('class_1', 'class_2'),
            {7: 255, 1: 0, 2: 1, 0: 1},
        ),
    ],
)
def test_values_become_classes(prepare, tmp_path, capsys, values, options, classes, mapped):
    pytest.importorskip('mmseg')
    folder = _maps(tmp_path / 'maps', values, values)
    starts, _ = prepare('segmentation', *options, data=folder)
    cfg = starts[0].settings
    assert cfg['model']['decode_head']['num_classes'] == len(classes)
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        dataset = cfg[name]['dataset']
        assert tuple(dataset['metainfo']['classes']) == classes
        steps = {step['type']: step.get('values') for step in dataset['pipeline']}
        assert steps.get('simmim_mm.LoadSegmentationMap', {}) == mapped
        assert ('LoadAnnotations' in steps) is not bool(mapped)
    told = 'Values of the maps become classes' in capsys.readouterr().out
    assert told is any(new not in (255, old) for old, new in mapped.items() if old != 255)


@pytest.mark.parametrize('task', TASKS)
def test_a_missing_folder_is_one_error(prepare, task):
    with pytest.raises(ValueError, match='no data folder: nowhere does not exist'):
        prepare(task, data='nowhere')


def test_wrong_class_folders_are_one_error(prepare, tmp_path):
    for part, classes in (('train', 'ab'), ('val', 'ac')):
        for name in classes:
            (tmp_path / 'data' / part / name).mkdir(parents=True)
            Image.new('RGB', (8, 8)).save(tmp_path / 'data' / part / name / '0.png')
    with pytest.raises(ValueError, match="missing 'b', unknown 'c'"):
        prepare('classification', data=tmp_path / 'data')


OWN = """
default_scope = 'mmpretrain'
custom_imports = dict(imports=['simmim_mm'])
data = dict(type='CustomDataset', pipeline=[])
train_dataloader = dict(dataset=dict(data, data_prefix='shapes/classification/train'))
val_dataloader = dict(dataset=dict(data, data_prefix='shapes/classification/val'))
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='simmim_mm.MaskedSwin',
        arch=dict(embed_dims={dims}, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 2]),
        window_size=7,
        init_cfg=dict(type='Pretrained', checkpoint='imagenet.pth'),
    ),
    head=dict(type='LinearClsHead', num_classes={classes}, in_channels=64),
)
load_from = {load_from!r}
train_cfg = dict(max_epochs=10)
param_scheduler = []
"""


def test_of_an_own_config_only_the_weights_are_changed(prepare, tmp_path):
    path = tmp_path / 'own.py'
    path.write_text(OWN.format(dims=8, classes=4, load_from=None))
    starts, paths = prepare('classification', '--config', path)
    original = Config.fromfile(path).to_dict()
    for _, settings, checkpoint, *_ in starts:
        init = settings['model']['backbone'].pop('init_cfg')
        assert (init and init['checkpoint']) == checkpoint
        settings['model']['backbone']['init_cfg'] = original['model']['backbone']['init_cfg']
        assert settings == original
    assert {path.name for path in paths} == {'train', 'val'}


@pytest.mark.parametrize(
    ('change', 'told'),
    [
        (dict(dims=16), r'swin.pth is not of a simmim_mm.MaskedSwin but of a MaskedSwin: .*shape'),
        (dict(classes=5), 'num_classes is 5, but .* has 4 classes'),
        (dict(load_from='coco.pth'), 'loads a whole model'),
    ],
)
def test_what_does_not_fit_an_own_config_is_one_error(prepare, tmp_path, change, told):
    path = tmp_path / 'own.py'
    path.write_text(OWN.format(**{**dict(dims=8, classes=4, load_from=None), **change}))
    with pytest.raises(ValueError, match=told):
        prepare('classification', '--config', path)


def test_checkpoints_that_cannot_be_used_are_one_error(prepare, tmp_path, project):
    state = torch.load(project / 'swin.pth', weights_only=True)
    torch.save(dict(state_dict=state['state_dict']), tmp_path / 'bare.pth')
    with pytest.raises(ValueError, match='carries no config'):
        prepare('classification', checkpoint=tmp_path / 'bare.pth')
    lost = ('stages.2', 'stages.3')
    state['state_dict'] = {
        k: v for k, v in state['state_dict'].items() if not any(part in k for part in lost)
    }
    torch.save(state, tmp_path / 'half.pth')
    with pytest.raises(ValueError, match=r'tensors, \d\d are missing'):
        prepare('classification', checkpoint=tmp_path / 'half.pth')
    with pytest.raises(FileNotFoundError, match='none'):
        prepare('classification', checkpoint='none.pth')
    with pytest.raises(ValueError, match='no ready-made config for a MaskedBEiT'):
        prepare('segmentation', checkpoint='beit.pth')


def test_a_budget_scales_the_whole_schedule():
    cfg = Config(
        dict(
            train_cfg=dict(max_epochs=100, val_interval=1),
            default_hooks=dict(checkpoint=dict(interval=10)),
            param_scheduler=[
                dict(type='LinearLR', end=20),
                dict(type='CosineAnnealingLR', T_max=80, begin=20, end=100),
                dict(type='MultiStepLR', milestones=[60, 90]),
            ],
        )
    )
    set_budget(cfg, epochs=10)
    assert cfg.param_scheduler == [
        dict(type='LinearLR', end=2),
        dict(type='CosineAnnealingLR', T_max=8, begin=2, end=10),
        dict(type='MultiStepLR', milestones=[6, 9]),
    ]
    assert cfg.train_cfg.max_epochs == 10 and cfg.default_hooks.checkpoint.interval == 2
    set_budget(cfg, epochs=1)
    assert all(s.get('begin', 0) < s.get('end', 2) for s in cfg.param_scheduler)
    with pytest.raises(ValueError, match='counts epochs'):
        set_budget(cfg, iters=10)


def test_minutes_let_the_whole_schedule_pass():
    cfg = Config(
        dict(
            train_cfg=dict(by_epoch=True, max_epochs=100, val_interval=1),
            param_scheduler=[
                dict(type='LinearLR', end=20, by_epoch=False),
                dict(type='CosineAnnealingLR', T_max=80, begin=20, end=100),
            ],
        )
    )
    set_minutes(cfg, 1.5)
    assert cfg.train_cfg == dict(
        type='simmim_mm.TimedTrainLoop', seconds=90, max_epochs=100, val_interval=20
    )
    assert [s.get('convert_to_iter_based') for s in cfg.param_scheduler] == [None, True]
    set_budget(cfg, epochs=10)
    assert cfg.train_cfg.type == 'simmim_mm.EpochTrainLoop' and 'seconds' not in cfg.train_cfg
    with pytest.raises(ValueError, match='max_iters or max_epochs'):
        set_minutes(Config(dict(train_cfg=dict(type='Own'))), 1)


def _run(python: str, project: Path, out: Path, *args: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(TOOLS.parent), os.environ.get('PYTHONPATH', '')])
    return subprocess.run(
        [python, str(TOOLS / 'compare.py'), *args, '--work-dir', str(out)],
        capture_output=True,
        text=True,
        cwd=project,
        env=dict(os.environ, PYTHONPATH=path, OMP_NUM_THREADS='1'),
        timeout=600,
    )


def test_nearest_neighbors_need_no_training(python, project, tmp_path):
    result = _run(
        python, project, tmp_path, 'classification', 'shapes/classification', '--probe', 'knn',
        '--checkpoints', 'swin.pth',
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    rows = list(csv.DictReader((tmp_path / 'results.csv').read_text().splitlines()))
    assert [row['seeds'] for row in rows] == ['2', '2'] and float(rows[1]['sd']) == 0
    assert (tmp_path / 'results.png').is_file()


@pytest.mark.slow
def test_a_comparison_is_made_and_not_repeated(python, project, tmp_path):
    args = ['classification', 'shapes/classification', '--checkpoints', 'tiny=swin.pth']
    args += ['--minutes', '0.05', '--seeds', '1', '--cfg-options']
    args += ['train_dataloader.num_workers=0', 'val_dataloader.num_workers=0']
    result = _run(python, project, tmp_path, *args)
    assert result.returncode == 0, result.stderr[-3000:] + result.stdout[-3000:]
    # the verdict; in so little time nothing may be learned
    assert re.search('^tiny(| and from scratch): ', result.stdout, re.MULTILINE)
    rows = list(csv.DictReader((tmp_path / 'results.csv').read_text().splitlines()))
    assert [row['start'] for row in rows] == ['from scratch', 'tiny']
    weights = [
        torch.load((folder / 'last_checkpoint').read_text(), weights_only=False)['state_dict']
        for folder in sorted((tmp_path / 'trials').iterdir())
    ]
    given = torch.load(project / 'swin.pth', weights_only=True)['state_dict']
    name = 'backbone.stages.0.blocks.0.ffn.layers.1.weight'
    far, near = ((w[name] - given[name]).abs().max() for w in weights)
    assert near < far / 3  # one began where the checkpoint ended, the other did not

    again = _run(python, project, tmp_path, *args)
    assert again.stdout.count('finished before') == 2
    assert again.stdout.splitlines()[-8:] == result.stdout.splitlines()[-8:]
