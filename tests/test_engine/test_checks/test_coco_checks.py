"""What is repaired in a COCO json is what mmdet trains on, and what its metric scores."""

import json
import logging
import shutil

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger

from simmim_mm.datasets.errors import DataError
from simmim_mm.engine.checks import check_run
from simmim_mm.experiments.shapes import CLASSES, write_shapes

# mmdet warns of an optional package when its metrics are imported.
pytestmark = pytest.mark.filterwarnings('ignore:faster_coco_eval')


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    pytest.importorskip('mmcv.ops', reason='mmdet needs the compiled operators of mmcv')
    pytest.importorskip('mmdet')
    folder = tmp_path_factory.mktemp('shapes') / 'data'
    write_shapes(folder, train=6, val=4, unlabeled=0, size=48)
    return folder


@pytest.fixture
def data(shapes, tmp_path):
    return shutil.copytree(shapes, tmp_path / 'data')


@pytest.fixture
def lines(monkeypatch):
    """Levels and texts that are logged."""
    found = []

    class Handler(logging.Handler):
        def emit(self, record):
            if record.levelno >= logging.INFO:
                found.append((record.levelname, record.getMessage()))

    monkeypatch.setattr(MMLogger.get_current_instance(), 'handlers', [Handler()])
    return found


def config(data, classes=CLASSES, val_classes=None, metric='bbox', **settings) -> ConfigDict:
    def loader(split, names, **others):
        dataset = dict(
            type='CocoDataset',
            data_root=str(data),
            ann_file=f'annotations/instances_{split}.json',
            data_prefix=dict(img=f'images/{split}'),
            metainfo=dict(classes=names),
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations', with_bbox=True),
                dict(type='PackDetInputs', meta_keys=('img_id', 'ori_shape')),
            ],
            **others,
        )
        return dict(dataset=dict(type='RepeatDataset', times=1, dataset=dataset))

    path = str(data / 'annotations' / 'instances_val.json')
    return ConfigDict(
        default_scope='mmdet',
        train_dataloader=loader('train', classes, **settings),
        val_dataloader=loader('val', val_classes or classes, test_mode=True),
        val_evaluator=dict(type='CocoMetric', ann_file=path, metric=metric),
    )


def edit(data, change, split='val'):
    path = data / 'annotations' / f'instances_{split}.json'
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return content


def each(**values):
    return lambda content: [a.update(values) for a in content['annotations']]


def without(*keys):
    return lambda content: [a.pop(key) for a in content['annotations'] for key in keys]


def number_from_zero(content):
    for number, annotation in enumerate(content['annotations']):
        annotation['id'] = number


def reverse(content):
    content['categories'].reverse()


def renumber(content):
    """A category of another number for every name, and the first name twice."""
    new = {c['id']: 7 * c['id'] + 3 for c in content['categories']}
    first = content['categories'][0]
    for i, annotation in enumerate(content['annotations']):
        number = annotation['category_id']
        annotation['category_id'] = new[number]
        if number == first['id'] and i % 2:
            annotation['category_id'] = 999
    content['categories'] = [dict(c, id=new[c['id']]) for c in content['categories']]
    content['categories'].append(dict(id=999, name=first['name'], supercategory='none'))


def ids_as_text(content):
    for annotation in content['annotations']:
        annotation.update({k: str(annotation[k]) for k in ('image_id', 'category_id')})


def drop_unused(content):
    used = {a['category_id'] for a in content['annotations']}
    content['categories'] = [c for c in content['categories'] if c['id'] in used]


def samples(dataset) -> list:
    return [dataset[i]['data_samples'] for i in range(len(dataset))]


def score_perfect_detections(checked, cfg) -> float:
    """AP of a detector that finds what the validation data set says."""
    evaluator = checked.evaluators.get('val_evaluator') or Evaluator(cfg.val_evaluator)
    evaluator.dataset_meta = checked.datasets['val_dataloader'].metainfo
    dataset = checked.datasets['val_dataloader']
    for sample in samples(dataset):
        objects = sample.gt_instances
        predictions = dict(
            bboxes=objects.bboxes.tensor,
            labels=objects.labels,
            scores=torch.ones(len(objects.labels)),
        )
        evaluator.process([dict(**sample.metainfo, pred_instances=predictions)])
    return evaluator.evaluate(len(dataset))['coco/bbox_mAP']


@pytest.mark.parametrize(
    'change',
    [
        number_from_zero,
        each(id=3),
        without('iscrowd'),
        without('area'),
        without('id', 'iscrowd', 'area'),
        each(area=0, iscrowd='0'),
        reverse,
        ids_as_text,
        renumber,
        drop_unused,
        lambda c: c['annotations'].append(dict(c['annotations'][0], bbox=[], segmentation=[])),
        lambda c: [image.pop('width') for image in c['images']],
    ],
)
def test_what_is_repaired_trains_and_scores(data, change):
    for split in ('train', 'val'):
        edit(data, change, split)
    before = (data / 'annotations' / 'instances_val.json').read_text()
    cfg = config(data)
    checked = check_run(cfg)
    assert score_perfect_detections(checked, cfg) == 1
    original = edit(data, lambda c: None, 'train')
    names = {c['id']: c['name'] for c in original['categories']}
    names |= {str(number): name for number, name in names.items()}
    expected = [
        CLASSES.index(names[a['category_id']]) for a in original['annotations'] if a['bbox']
    ]
    train = checked.datasets['train_dataloader']
    labels = [int(n) for sample in samples(train) for n in sample.gt_instances.labels]
    assert sorted(labels) == sorted(expected)
    # Neither the file nor the config is another one.
    assert (data / 'annotations' / 'instances_val.json').read_text() == before
    assert train.dataset.ann_file == str(data / 'annotations' / 'instances_train.json')
    assert cfg.val_evaluator.ann_file == str(data / 'annotations' / 'instances_val.json')


def test_nothing_is_rebuilt_or_said_of_sound_data(data, lines):
    # The shapes have every class in the training, but not in four images of the validation.
    checked = check_run(config(data))
    assert not checked.evaluators
    assert all(level == 'INFO' and 'have no objects' in text for level, text in lines)


def test_images_without_objects(data, lines):
    def change(content):
        content['annotations'] = [a for a in content['annotations'] if a['image_id'] > 1]

    edit(data, change, 'train')
    filter_cfg = dict(filter_empty_gt=True)
    checked = check_run(config(data, filter_cfg=filter_cfg))
    assert len(checked.datasets['train_dataloader']) == 4
    (text,) = [text for level, text in lines if level == 'WARNING']
    assert (
        '2 of 6 images have no objects (000000.png; 000001.png): left out of the training' in text
    )
    setting = 'train_dataloader.dataset.dataset.filter_cfg.filter_empty_gt=False'
    assert f'{setting} keeps them' in text

    lines.clear()
    checked = check_run(config(data, filter_cfg=dict(filter_empty_gt=False)))
    assert len(checked.datasets['train_dataloader']) == 6
    assert not [text for level, text in lines if level == 'WARNING']
    with pytest.raises(DataError, match='6 of 6 images are smaller than 64 pixels'):
        check_run(config(data, filter_cfg=dict(min_size=64)))


def test_crowds_are_told_and_nothing_but_crowds_is_refused(data, lines):
    def some(content):
        content['annotations'][0]['iscrowd'] = 1

    edit(data, some)
    check_run(config(data))
    assert any('marked as crowds' in text and 'left out of training' in text for _, text in lines)
    edit(data, each(iscrowd=1))
    with pytest.raises(DataError, match=r'val_dataloader.*marked as crowds.*write iscrowd=0'):
        check_run(config(data))


def test_classes_of_training_and_validation_are_the_same(data):
    edit(data, reverse)
    with pytest.raises(DataError, match='another order than those of the training'):
        check_run(config(data, val_classes=CLASSES[::-1]))
    with pytest.raises(DataError, match=r"more than once in the config \('circle'\)"):
        check_run(config(data, classes=('circle', *CLASSES)))


def test_a_category_that_is_not_in_the_file_is_no_class_to_add(data):
    edit(data, lambda c: c['annotations'][0].update(category_id=77), 'train')
    message = r'1 of \d+ annotations have a category_id that no category.* 77\): correct'
    with pytest.raises(DataError, match=message):
        check_run(config(data))


def test_masks_that_are_scored_are_checked_too(data):
    pytest.importorskip('pycocotools')
    edit(data, lambda c: c['annotations'][0].update(segmentation=[[1, 2, 3, 4]]))
    check_run(config(data))
    with pytest.raises(DataError, match=r'no segmentation .*Faster R-CNN'):
        check_run(config(data, metric=['bbox', 'segm']))


def test_info_reaches_the_metric(data, monkeypatch):
    """pycocotools 2.0.9 and 2.0.10 end in KeyError: 'info' when they score."""
    monkeypatch.setattr(
        'simmim_mm.datasets.readers.coco_objects.installed_version', lambda name: '2.0.10'
    )
    edit(data, lambda c: c.pop('info', None))
    metric = check_run(config(data)).evaluators['val_evaluator'].metrics[0]
    assert metric._coco_api.dataset['info'] == {}
