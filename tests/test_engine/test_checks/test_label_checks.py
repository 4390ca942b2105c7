"""What is wrong with the labels of a detector or segmenter is one clear error before training."""

import json
import shutil

import cv2
import numpy as np
import pytest
from mmengine.config import ConfigDict

from simmim_mm.datasets.errors import DataError
from simmim_mm.engine.checks import check_run
from simmim_mm.experiments.shapes import CLASSES, write_shapes


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp('shapes') / 'data'
    write_shapes(folder, train=6, val=2, unlabeled=0, size=32)
    return folder


@pytest.fixture
def data(shapes, tmp_path):
    return shutil.copytree(shapes, tmp_path / 'data')


def detector(data, classes=CLASSES, with_mask=True) -> ConfigDict:
    pytest.importorskip('mmcv.ops', reason='mmdet needs the compiled operators of mmcv')
    pytest.importorskip('mmdet')

    def loader(split):
        dataset = dict(
            type='CocoDataset',
            data_root=str(data),
            ann_file=f'annotations/instances_{split}.json',
            data_prefix=dict(img=f'images/{split}'),
            metainfo=dict(classes=classes),
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations', with_bbox=True, with_mask=with_mask),
                dict(type='PackDetInputs'),
            ],
        )
        return dict(dataset=dict(type='RepeatDataset', times=2, dataset=dataset))

    return ConfigDict(
        default_scope='mmdet',
        model=dict(roi_head=dict(bbox_head=[dict(num_classes=4)], mask_head=dict(num_classes=4))),
        train_dataloader=loader('train'),
        val_dataloader=loader('val'),
        val_evaluator=dict(ann_file=str(data / 'annotations/instances_val.json')),
    )


def segmenter(data, classes=('background', *CLASSES)) -> ConfigDict:
    pytest.importorskip('mmseg')

    def loader(split):
        return dict(
            dataset=dict(
                type='BaseSegDataset',
                data_root=str(data),
                img_suffix='.png',
                data_prefix=dict(img_path=f'images/{split}', seg_map_path=f'semantic/{split}'),
                metainfo=dict(classes=classes),
                pipeline=[
                    dict(type='LoadImageFromFile'),
                    dict(type='LoadAnnotations'),
                    dict(type='PackSegInputs'),
                ],
            )
        )

    return ConfigDict(
        default_scope='mmseg',
        model=dict(decode_head=dict(num_classes=5), auxiliary_head=dict(num_classes=5)),
        train_dataloader=loader('train'),
        val_dataloader=loader('val'),
    )


def edit(data, change) -> None:
    path = data / 'annotations' / 'instances_train.json'
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def error(cfg) -> str:
    with pytest.raises(DataError) as caught:
        check_run(cfg)
    return str(caught.value)


@pytest.mark.parametrize('config', [detector, segmenter])
def test_sound_data_are_built_and_a_sample_of_each_is_loaded(shapes, config):
    checked = check_run(config(shapes))
    assert [len(dataset) for dataset in checked.datasets.values()] in ([12, 4], [6, 2])
    assert sorted(checked.samples) == ['loss', 'predict']
    assert all(sample['inputs'].shape == (3, 32, 32) for sample in checked.samples.values())


def test_boxes_without_masks_are_enough_for_a_detector_of_boxes(data):
    edit(data, lambda c: [a.pop('segmentation') for a in c['annotations']])
    check_run(detector(data, with_mask=False))
    message = error(detector(data))
    assert 'have no segmentation' in message and 'Faster R-CNN' in message


def test_a_category_without_objects_need_not_be_listed(data):
    edit(data, lambda c: c['categories'].insert(0, dict(id=99, name='shapes')))
    check_run(detector(data))


@pytest.mark.parametrize('content, problem', [('', 'is empty'), ('{"images": [', 'is not JSON')])
def test_an_empty_or_broken_json(data, content, problem):
    (data / 'annotations' / 'instances_train.json').write_text(content)
    message = error(detector(data))
    assert message.startswith('train_dataloader.dataset.dataset: ')
    assert 'instances_train.json' in message and problem in message


@pytest.mark.parametrize(
    'change, parts',
    [
        (lambda c: c.update(images=[]), ['has no images']),
        (lambda c: c.update(annotations=[]), ['has no annotations']),
        (lambda c: c.pop('categories'), ["no list 'categories'"]),
        (lambda c: c['annotations'][3].pop('area'), ['annotations[3] has no area']),
        (lambda c: c['annotations'][1].update(id=c['annotations'][0]['id']), ['not unique']),
        (lambda c: c['annotations'][0].update(image_id=777), ['images that it does not list']),
        (lambda c: c['annotations'][0].update(category_id=77), ['77 (1 objects)']),
        (lambda c: c['images'][0].update(file_name='gone.png'), ['gone.png', 'data_prefix.img']),
        (
            lambda c: [a.update(bbox=[0.1, 0.1, 0.2, 0.2]) for a in c['annotations']],
            ['less than a pixel', '[x, y, width, height]'],
        ),
    ],
)
def test_a_json_that_cannot_be_trained_on(data, change, parts):
    edit(data, change)
    message = error(detector(data))
    assert all(part in message for part in parts), message


def test_categories_that_do_not_match_the_classes(shapes):
    message = error(detector(shapes, classes=('circle', 'square', 'triangle', 'cross')))
    assert "'star' (" in message and "('circle', 'square', 'triangle', 'star')" in message
    # mmdet numbers classes as the json does: names in another order would be wrong names.
    assert 'in that order' in error(detector(shapes, classes=CLASSES[::-1]))
    assert 'in that order' in error(detector(shapes, classes=(*CLASSES, 'cross')))
    assert "('star',)" in error(detector(shapes, classes='star'))


def test_heads_and_evaluation_that_do_not_match_the_data(shapes):
    cfg = detector(shapes)
    cfg.model.roi_head.mask_head.num_classes = 80
    message = error(cfg)
    assert 'model.roi_head.mask_head.num_classes is 80' in message and 'set it to 4' in message

    cfg = detector(shapes)
    cfg.val_evaluator.ann_file = str(shapes / 'annotations/instances_train.json')
    assert 'val_evaluator.ann_file' in error(cfg)

    cfg = segmenter(shapes)
    cfg.model.auxiliary_head.num_classes = 19
    assert 'model.auxiliary_head.num_classes is 19' in error(cfg)


@pytest.mark.parametrize('config', [detector, segmenter])
def test_a_missing_folder(data, config):
    shutil.rmtree(data / 'images' / 'val')
    message = error(config(data))
    assert message.startswith('val_dataloader.dataset') and 'images/val' in message
    assert 'data_root' in message


def test_a_missing_json(data):
    (data / 'annotations' / 'instances_val.json').unlink()
    assert 'there is no file' in error(detector(data))


@pytest.fixture
def segmentation_map(data):
    path = sorted((data / 'semantic' / 'train').glob('*.png'))[3]
    return path, cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def test_a_map_with_values_outside_the_classes(data, segmentation_map):
    path, pixels = segmentation_map
    pixels[:4, :8], pixels[5] = 7, 255
    cv2.imwrite(str(path), pixels)
    message = error(segmenter(data))
    assert f'{path} has the values 7 (3.1% of its pixels)' in message
    assert 'values 0 to 4' in message and '255' in message


def test_maps_that_are_color_images_or_of_another_size(data, segmentation_map):
    path, pixels = segmentation_map
    cv2.imwrite(str(path), np.stack([pixels] * 3, -1))
    assert '3 channels' in error(segmenter(data))
    cv2.imwrite(str(path), pixels[:20])
    assert 'is of 32x20 pixels, its image of 32x32' in error(segmenter(data))
    path.unlink()
    assert 'without a segmentation map' in error(segmenter(data))


def test_foreground_painted_as_255_would_be_left_out(data):
    for path in (data / 'semantic' / 'train').glob('*.png'):
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(path), 255 * (pixels > 0).astype(np.uint8))
    message = error(segmenter(data))
    assert 'only the values [0, 255]' in message


def test_no_image_of_the_suffix(shapes):
    cfg = segmenter(shapes)
    cfg.train_dataloader.dataset.img_suffix = '.jpg'
    assert "no file that ends in '.jpg'" in error(cfg)


@pytest.mark.parametrize('config', [detector, segmenter])
def test_an_image_that_cannot_be_read_is_named(data, config):
    path = sorted((data / 'images' / 'train').iterdir())[4]
    path.write_bytes(path.read_bytes()[:200])
    message = error(config(data))
    assert message.startswith('train_dataloader.dataset') and f'{path} (' in message
    cfg = config(data)
    cfg.check_images = False  # a sample of 200: all of these
    assert f'{path} (' in error(cfg)
