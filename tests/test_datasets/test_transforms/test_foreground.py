import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import Compose
from PIL import Image

from simmim_mm.datasets import DataError, ImageDataset, UnreadableImage
from simmim_mm.datasets.saliency import estimate_saliency
from simmim_mm.datasets.transforms import (
    BoxForeground,
    LoadForeground,
    LoadImage,
    PackInputs,
    SaliencyForeground,
)
from simmim_mm.registry import TRANSFORMS

RNG = np.random.default_rng(0)


def blobs(height, width):
    """Smooth random 0/1 map."""
    noise = cv2.GaussianBlur(RNG.standard_normal((height, width)), (0, 0), 5)
    return (noise > 0).astype(np.uint8)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return str(path)


def run(transform, img, path='a.jpg'):
    return transform(dict(img=img, img_path=str(path)))['gt_seg_map']


GEOMETRY = {
    'crop': [dict(type='RandomResizedCrop', scale=(48, 64), crop_ratio_range=(0.3, 1.0))],
    'simple': [dict(type='SimpleResizedCrop', size=(48, 64), padding=9)],
    'cover': [dict(type='ResizeToCover', size=(50, 64))],
    'edge': [dict(type='ResizeEdge', scale=60)],
    'center': [
        dict(type='ResizeToCover', size=64),
        dict(type='mmpretrain.CenterCrop', crop_size=48),
    ],
}


@pytest.mark.parametrize('name', GEOMETRY)
@pytest.mark.parametrize('interpolation', ['nearest', 'bilinear'])
def test_the_map_stays_on_the_image(name, interpolation):
    first, *rest = GEOMETRY[name]
    flip = dict(type='mmpretrain.RandomFlip', prob=[0.4, 0.4], direction=['horizontal', 'vertical'])
    steps = [dict(first, interpolation=interpolation), *rest, flip]
    pipeline = Compose([TRANSFORMS.build(step) for step in steps])
    for seed in range(12):
        np.random.seed(seed)
        foreground = blobs(90, 130)
        img = np.repeat(foreground[..., None] * 255, 3, -1)
        results = pipeline(dict(img=img, gt_seg_map=foreground))
        seen = results['img'][..., 0] > 127
        assert results['gt_seg_map'].shape == results['img'].shape[:2]
        assert set(np.unique(results['gt_seg_map'])) <= {0, 1}
        if interpolation == 'nearest':
            np.testing.assert_array_equal(results['gt_seg_map'], seen)
        else:  # away from the borders; smoothing may swallow an island of a pixel or two
            inside = cv2.erode(seen.astype(np.uint8), np.ones((5, 5))) > 0
            outside = cv2.dilate(seen.astype(np.uint8), np.ones((5, 5))) == 0
            assert results['gt_seg_map'][inside].mean() > 0.99
            assert results['gt_seg_map'][outside].mean() < 0.01


def test_segmentation_map_in_another_folder(tmp_path):
    labels = RNG.integers(0, 4, (20, 30), dtype=np.uint8)
    labels[0, 0] = 255
    save(tmp_path / 'images/labels/x/a.png', labels)
    img, path = np.zeros((20, 30, 3), np.uint8), tmp_path / 'images/images/x/a.jpg'
    found = run(LoadForeground(('images', 'labels')), img, path)
    np.testing.assert_array_equal(found, (labels > 0) & (labels < 4))
    found = run(LoadForeground(('images', 'labels'), labels=[2, 255]), img, path)
    np.testing.assert_array_equal(found, (labels == 2) | (labels == 255))


def test_a_palette_image_gives_its_indices(tmp_path):
    indices = RNG.integers(0, 3, (20, 30), dtype=np.uint8)
    image = Image.fromarray(indices, 'P')
    image.putpalette([200, 10, 10, 0, 0, 0, 0, 0, 0])
    image.save(tmp_path / 'a_mask.png')
    img = np.zeros((20, 30, 3), np.uint8)
    found = run(LoadForeground(suffix='_mask.png'), img, tmp_path / 'a.jpg')
    np.testing.assert_array_equal(found, indices > 0)


def test_saliency_map(tmp_path):
    values = RNG.integers(0, 60, (20, 30), dtype=np.uint8)
    values[5:12, 8:20] += 150
    save(tmp_path / 'a.png', np.repeat(values[..., None], 3, -1))
    img, path = np.zeros((20, 30, 3), np.uint8), tmp_path / 'a.jpg'
    np.testing.assert_array_equal(run(LoadForeground(threshold=30), img, path), values > 30)
    np.testing.assert_array_equal(run(LoadForeground(threshold='otsu'), img, path), values >= 150)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(), r'a\.jpg: no foreground map: .*a\.png'),
        (dict(folders=('photos', 'maps')), "no folder 'photos' in its path"),
        (dict(suffix='_small.png'), r'a_small\.png is 10 x 15; it has to be 20 x 30'),
        (dict(suffix='_rgb.png'), r'a_rgb\.png has 3 channels, not one'),
        (dict(suffix='_text.png'), r'a_text\.png cannot be read'),
        (dict(suffix='_deep.png', threshold='otsu'), 'takes 8 bits'),
    ],
)
def test_maps_that_do_not_fit_are_reported(tmp_path, kwargs, message):
    save(tmp_path / 'a_small.png', np.zeros((10, 15), np.uint8))
    save(tmp_path / 'a_rgb.png', np.zeros((20, 30, 3), np.uint8))
    save(tmp_path / 'a_deep.png', np.zeros((20, 30), np.uint16))
    (tmp_path / 'a_text.png').write_text('none')
    with pytest.raises(UnreadableImage, match=message):
        run(LoadForeground(**kwargs), np.zeros((20, 30, 3), np.uint8), tmp_path / 'a.jpg')


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(folders='images'), 'two names'),
        (dict(threshold='mean'), "number or 'otsu'"),
        (dict(threshold=3, labels=[1]), 'labels .* or threshold'),
    ],
)
def test_wrong_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        LoadForeground(**kwargs)


@pytest.fixture
def coco(tmp_path):
    triangle = [[2.0, 2.0, 22.0, 2.0, 2.0, 16.0]]
    annotations = [
        dict(image_id=7, bbox=[2.4, 3, 5, 4.2], segmentation=triangle),
        dict(image_id=7, bbox=[25, 15, 90, 90], segmentation=dict(size=[20, 30], counts=[590, 10])),
    ]
    images = [
        dict(id=7, file_name='x/a.jpg', height=20, width=30),
        dict(id=8, file_name='b.jpg', height=20, width=30),
    ]
    path = tmp_path / 'boxes.json'
    path.write_text(json.dumps(dict(images=images, annotations=annotations)))
    return str(path)


def test_boxes(coco):
    img = np.zeros((20, 30, 3), np.uint8)
    expected = np.zeros((20, 30), np.uint8)
    expected[3:7, 2:7] = expected[15:, 25:] = 1
    np.testing.assert_array_equal(run(BoxForeground(coco), img, '/data/x/a.jpg'), expected)
    assert not run(BoxForeground(coco), img, '/data/b.jpg').any()
    with pytest.raises(UnreadableImage, match=r"no entry in .*names are like 'x/a\.jpg'"):
        run(BoxForeground(coco), img, '/data/y/a.jpg')
    with pytest.raises(UnreadableImage, match='has it as 20 x 30, it is 30 x 20'):
        run(BoxForeground(coco), img.transpose(1, 0, 2), '/data/b.jpg')


def test_masks_of_objects(coco):
    pytest.importorskip('pycocotools')
    found = run(BoxForeground(coco, use_masks=True), np.zeros((20, 30, 3), np.uint8), 'x/a.jpg')
    rows, cols = np.mgrid[:20, :30] + 0.5
    inside = (cols > 2) & (rows > 2) & ((cols - 2) / 20 + (rows - 2) / 14 < 1)
    inside[10:, 29] = True  # run lengths go down the columns
    assert np.abs(found - inside.astype(int)).mean() < 0.02
    assert found[10:, 29].all() and not found[:10, 29].any()


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('[]', "no list 'images': it is not a COCO annotation file"),
        ('{"images": []}', "no list 'annotations': it is not a COCO annotation file"),
        ('not json', 'is not JSON'),
        (None, 'there is no file'),
    ],
)
def test_files_that_are_not_coco(tmp_path, content, message):
    path = tmp_path / 'boxes.json'
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=rf'{message}.*boxes\.json|boxes\.json.*{message}'):
        BoxForeground(str(path))


def disc(channels, dtype=np.uint8, center=(40, 80), radius=15):
    rows, cols = np.mgrid[:120, :160]
    inside = (rows - center[0]) ** 2 + (cols - center[1]) ** 2 < radius**2
    img = 90 + 15 * np.sin(rows / 9)[..., None] + RNG.normal(0, 4, (120, 160, channels))
    img[inside] += 60 * RNG.choice([-1, 1], channels)
    return img.astype(dtype), inside


@pytest.mark.parametrize('channels', [1, 3, 5])
@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_an_object_stands_out(channels, dtype):
    for center in [(40, 80), (80, 30), (60, 120)]:
        img, inside = disc(channels, dtype, center)
        saliency = estimate_saliency(img)
        assert saliency.min() >= 0 and saliency.max() <= 1
        ranks = saliency.ravel().argsort().argsort()[inside.ravel()]
        num_in, num_out = inside.sum(), (~inside).sum()
        auc = (ranks.sum() - num_in * (num_in - 1) / 2) / (num_in * num_out)
        assert auc > 0.9
        found = run(SaliencyForeground(), img)
        assert found[inside].mean() > 0.8 and found[~inside].mean() < 0.3


def test_saliency_does_not_depend_on_brightness_and_contrast():
    img, _ = disc(3, np.float32)
    np.testing.assert_allclose(estimate_saliency(img), estimate_saliency(img * 0.01 - 7), atol=0.02)


@pytest.mark.parametrize('value', [0, 200])
def test_nothing_stands_out_of_a_constant_image(value):
    img = np.full((40, 60, 3), value, np.uint8)
    assert not estimate_saliency(img).any()
    assert not run(SaliencyForeground(), img).any()


@pytest.mark.parametrize('threshold', ['mean', 0, 1.5])
def test_wrong_thresholds(threshold):
    with pytest.raises(ValueError, match='threshold must be'):
        SaliencyForeground(threshold)


def test_the_map_is_packed():
    foreground = blobs(20, 30)
    results = dict(img=np.zeros((20, 30, 3), np.uint8), mask=foreground > 0, gt_seg_map=foreground)
    sample = PackInputs(algorithm_keys=['mask', 'foreground'])(dict(results))['data_samples']
    np.testing.assert_array_equal(sample.foreground, foreground)
    assert 'foreground' not in PackInputs(algorithm_keys=['mask'])(dict(results))['data_samples']
    flipped = dict(results, gt_seg_map=foreground[:, ::-1])  # a view, as mmcv's flip gives it
    sample = PackInputs(algorithm_keys=['foreground'])(flipped)['data_samples']
    np.testing.assert_array_equal(torch.as_tensor(sample.foreground), foreground[:, ::-1])


def test_a_missing_or_displaced_map_is_not_packed():
    pack = PackInputs(algorithm_keys=['foreground'])
    img = np.zeros((20, 30, 3), np.uint8)
    with pytest.raises(ValueError, match=r'no foreground map .*add LoadForeground'):
        pack(dict(img=img))
    with pytest.raises(ValueError, match='crops or resizes the image alone'):
        pack(dict(img=img, gt_seg_map=np.zeros((30, 20), np.uint8)))


def test_images_without_a_map_are_skipped(tmp_path):
    for i in range(8):
        foreground = blobs(40, 48)
        save(tmp_path / f'images/{i}.png', np.repeat(foreground[..., None] * 255, 3, -1))
        if i != 3:
            save(tmp_path / f'maps/{i}.png', foreground)
    pipeline = [
        LoadImage(),
        LoadForeground(('images', 'maps')),
        TRANSFORMS.build(dict(type='RandomResizedCrop', scale=32, interpolation='nearest')),
        TRANSFORMS.build(dict(type='mmpretrain.RandomFlip', prob=0.5)),
        PackInputs(algorithm_keys=['foreground']),
    ]
    dataset = ImageDataset(str(tmp_path / 'images'), pipeline=pipeline)
    for sample in map(dataset.__getitem__, range(8)):
        expected = sample['inputs'][0].numpy() > 0
        np.testing.assert_array_equal(sample['data_samples'].foreground, expected)
    assert dataset.num_bad == 1
