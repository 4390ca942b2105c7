"""What is wrong with the labels of a detector or segmenter is one clear error before training."""

import json
import shutil

import cv2
import numpy as np
import pytest
from mmengine.config import ConfigDict
from PIL import Image

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
def test_sound_data_are_built_and_a_sample_of_each_is_loaded(shapes, config, capsys):
    cfg = config(shapes)
    cfg.model.data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.4, 57.1, 57.4])
    checked = check_run(cfg)
    assert [len(dataset) for dataset in checked.datasets.values()] in ([12, 4], [6, 2])
    assert not checked.warnings
    shown = capsys.readouterr()
    said = [line for line in (shown.out + shown.err).splitlines() if 'WARNING' in line]
    assert not [line for line in said if 'current default scope' not in line]  # mmengine's
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
        (lambda c: c['annotations'][3].pop('bbox'), ['annotations[3] has no bbox']),
        (lambda c: c['annotations'][0].update(image_id=777), ['images that it does not list']),
        (
            lambda c: c['annotations'][0].update(category_id=77),
            ['id that no category', '77'],
        ),
        (lambda c: c['images'][0].update(file_name='gone.png'), ['gone.png', 'add them to it']),
        (
            lambda c: [a.update(bbox=[0.1, 0.1, 0.2, 0.2]) for a in c['annotations']],
            ['fractions of their image', '[left, top, width, height]'],
        ),
    ],
)
def test_a_json_that_cannot_be_trained_on(data, change, parts):
    edit(data, change)
    message = error(detector(data))
    assert all(part in message for part in parts), message


def test_categories_that_do_not_match_the_classes(shapes):
    message = error(detector(shapes, classes=('circle', 'square', 'triangle', 'cross')))
    assert "of 'star'" in message and "('circle', 'square', 'triangle', 'star')" in message
    assert 'set train_dataloader.dataset' in message and 'mask_head.num_classes to 4' in message
    assert 'num_classes is 4' in error(detector(shapes, classes=(*CLASSES, 'cross')))
    assert "('star',)" in error(detector(shapes, classes='star'))


def test_heads_and_evaluation_that_do_not_match_the_data(shapes):
    cfg = detector(shapes)
    cfg.model.roi_head.mask_head.num_classes = 80
    message = error(cfg)
    assert 'model.roi_head.mask_head.num_classes is 80' in message and 'set it to 4' in message
    cfg.model.roi_head.bbox_head[0].num_classes = 7
    message = error(cfg)
    assert 'bbox_head.0.num_classes is 7' in message and 'mask_head.num_classes is 80' in message

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
    assert (
        f'1 of 6 segmentation maps have values that are no class, such as {path}: 7 (3.1%'
        in message
    )
    assert 'values 0 to 4; 255 is left out' in message


def test_maps_that_are_color_images_or_of_another_size(data, segmentation_map):
    path, pixels = segmentation_map
    cv2.imwrite(str(path), np.stack([pixels] * 3, -1))
    message = error(segmenter(data))
    assert '3 channels' in message and 'the same number three times' in message
    assert 'repair' not in message and 'in all pipelines (train, val, test)' in message
    check_run(load_maps(segmenter(data)))
    cv2.imwrite(str(path), pixels[:20])
    assert 'is of 32x20 pixels, its image of 32x32' in error(segmenter(data))
    path.unlink()
    assert 'have no segmentation map: there is no ' in error(segmenter(data))


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
    assert message.startswith('train_dataloader.dataset') and str(path) in message
    cfg = config(data)
    cfg.check_images = False  # a sample of 200: all of these
    assert str(path) in error(cfg)


def pasted(message) -> dict:
    """The last settings of LoadSegmentationMap in a message, as a user copies them."""
    values = message.rpartition("dict(type='simmim_mm.LoadSegmentationMap', values=")[2]
    return dict(values=eval(values[: values.index('}') + 1]))


def change_maps(data, change, folders=('train', 'val')):
    for folder in folders:
        for path in sorted((data / 'semantic' / folder).glob('*.png')):
            pixels = change(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
            cv2.imwrite(str(path), pixels)


def load_maps(cfg, **settings):
    for name in ('train_dataloader', 'val_dataloader'):
        step = dict(type='simmim_mm.LoadSegmentationMap', **settings)
        cfg[name].dataset.pipeline[1] = step
    return cfg


def test_a_bad_map_is_named(data, segmentation_map):
    path, _ = segmentation_map
    path.write_bytes(path.read_bytes()[:60])
    message = error(segmenter(data))
    assert '1 of 6 maps cannot be read: ' in message and f'{path} (' in message


@pytest.mark.parametrize(
    'change, advice',
    [
        (
            lambda x: x + 1,
            '5, without 0: if 1 is the first class, set reduce_zero_label=True',
        ),
        (lambda x: x + 1, 'which happens to occur in no map, add a class at the end of metainfo'),
        (lambda x: 10 * x, 'values={10: 1, 20: 2, 30: 3, 40: 4}'),
        (lambda x: np.where(x == 4, 254, x).astype(np.uint8), 'values={254: 4}'),
        (lambda x: cv2.blur(40 * x, (3, 3)), 'were the maps resized'),
    ],
)
def test_advice_for_values_that_are_no_classes(data, change, advice):
    change_maps(data, change)
    message = error(segmenter(data))
    assert 'The 5 classes of the config' in message and advice in message, message
    if 'values=' in advice:
        check_run(load_maps(segmenter(data), values=eval(advice.partition('=')[2])))


def test_zero_that_is_not_labeled(data):
    change_maps(data, lambda x: np.pad((x + 1)[4:-4, 4:-4], 4))
    message = error(segmenter(data))
    assert 'if 0 stands for what is not labeled, set reduce_zero_label=True in train_' in message
    cfg = segmenter(data)
    for name in ('train_dataloader', 'val_dataloader'):
        cfg[name].dataset.reduce_zero_label = True
    check_run(cfg)
    check_run(load_maps(segmenter(data), values={0: 255, 1: 0, 2: 1, 3: 2, 4: 3, 5: 4}))


@pytest.mark.parametrize('value', [-100, 300])
def test_values_that_8_bits_would_change(data, value):
    tifffile = pytest.importorskip('tifffile')
    for path in sorted((data / 'semantic').rglob('*.png')):
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.int32)
        pixels[:3] = value
        tifffile.imwrite(path.with_suffix('.tif'), pixels)
    cfg = segmenter(data)
    for name in ('train_dataloader', 'val_dataloader'):
        cfg[name].dataset.seg_map_suffix = '.tif'
    message = error(cfg)
    assert f': {value} (' in message and f'values={{{value}: 255}}' in message
    checked = check_run(load_maps(cfg, values={value: 255}))
    assert checked.samples['loss']['data_samples'].gt_sem_seg.data.max() == 255


def test_two_classes_painted_0_and_255(data):
    change_maps(data, lambda x: 255 * (x > 0).astype(np.uint8))
    cfg = segmenter(data, classes=('background', 'shape'))
    for head in cfg.model.values():
        head.num_classes = 2
    line = "dict(type='simmim_mm.LoadSegmentationMap', values={255: 1})"
    assert f'If 255 is the class 1, load the maps by {line} in the place of' in error(cfg)
    sample = check_run(load_maps(cfg, values={255: 1})).samples['loss']
    assert sample['data_samples'].gt_sem_seg.data.unique().tolist() == [0, 1]


def test_a_single_class_cannot_be_learned_by_a_softmax(data):
    change_maps(data, lambda x: 0 * x)
    cfg = segmenter(data, classes=('shape',))
    for head in cfg.model.values():
        head.num_classes = 1
    assert "the only class is 'shape'" in error(cfg)


def test_ignored_by_the_data_set_alone(shapes):
    cfg = segmenter(shapes)
    cfg.train_dataloader.dataset.ignore_index = 0
    message = error(cfg)
    assert 'ignore_index is 0, but that of model.decode_head is 255' in message
    assert 'values={0: 255}' in message


def test_classes_of_training_and_validation_are_the_same(shapes):
    classes = ('background', *CLASSES)
    cfg = segmenter(shapes)
    cfg.val_dataloader.dataset.metainfo = dict(classes=classes[::-1])
    message = error(cfg)
    assert message.startswith('val_dataloader.dataset: ') and 'in another order' in message
    cfg.train_dataloader.dataset.metainfo = dict(classes=(*classes[:4], 'circle'))
    assert "classes has names twice: 'circle'" in error(cfg)


def test_a_class_that_never_occurs_is_told(data, capsys):
    change_maps(data, lambda x: np.where(x == 2, 0, x).astype(np.uint8), ['train'])
    check_run(segmenter(data))
    (told,) = [line for line in capsys.readouterr().out.splitlines() if 'WARNING' in line]
    assert "train_dataloader.dataset: no pixel of the segmentation maps is 'square'" in told


def test_palettes_in_which_a_value_has_two_colors_are_told(data, segmentation_map, capsys):
    for i, path in enumerate(sorted((data / 'semantic').rglob('*.png'))):
        image = Image.fromarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), 'P')
        colors = [0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9]
        image.putpalette(colors if i < 3 else colors[:3] + colors[6:] + colors[3:6])
        image.save(path)
    check_run(segmenter(data))
    (told,) = [line for line in capsys.readouterr().out.splitlines() if 'WARNING' in line]
    assert 'has the color #' in told and str(segmentation_map[0]) in told
    assert 'in all pipelines (train, val, test)' in told
    check_run(load_maps(segmenter(data), **pasted(told)))


def test_a_map_with_an_orientation_that_mmseg_would_not_apply(data, segmentation_map):
    path, pixels = segmentation_map
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(np.rot90(pixels, 2)).save(path, exif=exif)
    message = error(segmenter(data))
    assert f'{path}: it has an EXIF orientation' in message and 'repair' not in message
    check_run(load_maps(segmenter(data)))


def classifier(data) -> ConfigDict:
    def loader(part):
        pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
        dataset = dict(type='CustomDataset', data_root=str(data / part), pipeline=pipeline)
        return dict(dataset=dict(type='ConcatDataset', datasets=[dataset]))

    return ConfigDict(
        default_scope='mmpretrain',
        train_dataloader=loader('classification/train'),
        val_dataloader=loader('classification/val'),
        model=dict(head=dict(num_classes=4)),
    )


def test_class_folders_are_checked(data, capsys):
    train = data / 'classification' / 'train'
    shutil.rmtree(train.with_name('val'))
    shutil.copytree(train, train.with_name('val'))
    check_run(classifier(data))
    assert 'WARNING' not in capsys.readouterr().out
    path = sorted(train.rglob('*.png'))[5]

    copy = path.parent / '.ipynb_checkpoints' / path.name
    copy.parent.mkdir()
    shutil.copy(path, copy)
    message = error(classifier(data))
    assert '1 images lie in hidden folders' in message and copy.name in message
    copy.parent.rename(train / '.ipynb_checkpoints')
    assert 'hidden folders, which would be classes' in error(classifier(data))
    shutil.rmtree(train / '.ipynb_checkpoints')

    for i, image in enumerate(sorted((train / 'circle').iterdir())):
        (train / 'circle' / f'{i}').mkdir()
        image.rename(train / 'circle' / f'{i}' / image.name)
    check_run(classifier(data))
    assert "'circle' in " in capsys.readouterr().out

    (train / 'square').rename(train / 'Square')
    names = ['circle', 'square', 'star', 'triangle']
    for classes in (None, names):  # mmpretrain goes by the folders in any case
        cfg = classifier(data)
        for part in ('train', 'val') if classes else ():
            dataset = cfg[f'{part}_dataloader'].dataset
            for single in dataset.get('datasets', [dataset]):
                single.metainfo = dict(classes=classes)
        message = error(cfg)
        assert "class folders are not those of the training: missing 'Square'" in message
    path = next((data / 'classification' / 'val').rglob('*.png'))
    path.write_bytes(b'')
    (train / 'Square').rename(train / 'square')
    assert f'{path} (empty file)' in error(classifier(data))


def test_one_class_folder_has_nothing_to_tell_apart(data):
    for part in ('train', 'val'):
        for path in (data / 'classification' / part).iterdir():
            if path.name != 'circle':
                shutil.rmtree(path)
    assert "the only class is 'circle'" in error(classifier(data))


def test_the_last_class_stays_where_maps_have_no_zero(data):
    for path in (data / 'semantic').rglob('*.png'):  # the values 1 to 5, and a 9 that is no class
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) + 1
        pixels[:2] = 9
        cv2.imwrite(str(path), pixels)
    cfg = segmenter(data)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.reduce_zero_label = True
    assert 'values={9: 255}' in error(cfg)


def test_a_value_that_only_the_validation_has_is_not_made_another_class(data):
    def spoil(pixels):
        pixels = np.where(pixels == 4, 0, pixels)
        pixels[0, :4], pixels[1:3] = range(4), 7
        return pixels

    change_maps(data, spoil, ['val'])  # 0 to 3 and 7, as many values as classes
    cfg = segmenter(data)
    message = error(cfg)
    assert "those of the training have 4 ('star'), too" in message and '{7: 4}' not in message
    assert 'if 7 means that here, make the maps of this data set anew' in message
    leave_out, _, add = message.partition('; if it is a class that metainfo.classes does not list')
    check_run(load_maps(cfg, **pasted(leave_out)))
    assert 'add a class at the end of metainfo.classes in all data sets (with a color' in add
    assert 'set num_classes of the heads to 6; then load the maps by' in add
    cfg = load_maps(segmenter(data, classes=('background', *CLASSES, 'cross')), **pasted(add))
    for head in cfg.model.values():
        head.num_classes = 6
    check_run(cfg)


def test_values_of_classes_that_do_not_start_at_zero(data):
    change_maps(data, lambda x: np.where(x == 4, 9, x + 1).astype(np.uint8))  # 1 to 4 and 9
    cfg = segmenter(data)
    for name in ('train_dataloader', 'val_dataloader'):
        cfg[name].dataset.reduce_zero_label = True
    message = error(cfg)
    assert 'values={9: 5}) in the place' in message
    check_run(load_maps(cfg, values={9: 5}))


def test_colors_of_a_map_are_settings_to_paste(data):
    colors = np.array([[0, 0, 0], [9, 9, 200], [3, 70, 5], [0, 255, 0], [80, 0, 80]], np.uint8)
    change_maps(data, lambda x: colors[x])
    cfg, values = segmenter(data), {}
    for _ in range(6):  # each map may have colors of its own
        message = error(load_maps(cfg, values=values) if values else cfg)
        if not values:
            assert 'of which this map has' in message and message.endswith('which names it')
            assert 'in all pipelines (train, val, test)' in message
            values = pasted(message)['values']
        else:
            color = message.partition('in no class: ')[2][:7]
            values[color] = len(values)
        if len(values) == 5:
            break
    check_run(load_maps(cfg, values=values))
    noise = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    change_maps(data, lambda x: noise, ['train'])
    assert 'without interpolation or losses' in error(segmenter(data))


def test_boxes_of_the_unturned_image_are_loaded_as_the_message_says(data):
    path = data / 'images' / 'train' / '000002.png'
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).resize((32, 24)).save(path, exif=exif)
    edit(data, lambda c: c['images'][2].update(width=32, height=24))
    edit(data, lambda c: [a.update(bbox=[2, 2, 8, 8], segmentation=[]) for a in c['annotations']])
    cfg = detector(data, with_mask=False)
    message = error(cfg)
    assert message.endswith(' in all pipelines (train, val, test)')
    line = 'dict(' + message.rpartition(' by dict(')[2].partition(')')[0] + ')'
    for name in ('train_dataloader', 'val_dataloader'):
        dataset = cfg[name].dataset
        dataset.get('dataset', dataset).pipeline[0] = eval(line)
    check_run(cfg)
